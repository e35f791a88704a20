//! Owns `Cut`: the break of a stream, behind what its connection has still to write.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http::Version;
use http::request::Parts;
use tokio::time::Instant;

use crate::Outgoing;
use crate::timer::{Timer, after};

/// How long frames may take to leave: 5 s. Then the stream breaks all the same.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a head may take, where no frame follows it whose leaving would tell: 100 ms.
const PATIENCE_FOR_HEAD: Duration = Duration::from_millis(100);

/// What the break of a stream waits for.
#[derive(Debug, Default)]
pub(crate) enum Cut {
    /// Nothing: whoever polls the body has had a turn to write.
    #[default]
    AtOnce,
    /// The connection, which is this stream's alone.
    BehindConnection(Outgoing),
    /// The frames of this stream.
    BehindFrames(Box<Frames>),
}

impl Cut {
    /// Of the stream that answers this request.
    pub(crate) fn of(request: &Parts) -> Self {
        if request.version >= Version::HTTP_2 {
            return Self::BehindFrames(Box::default());
        }
        let outgoing = request.extensions.get::<Outgoing>();
        outgoing.map_or(Self::AtOnce, |outgoing| {
            Self::BehindConnection(outgoing.clone())
        })
    }

    /// The same frame, known until it has left if that matters.
    pub(crate) fn watch(&mut self, frame: Bytes) -> Bytes {
        match self {
            Self::BehindFrames(frames) => frames.watch(frame),
            Self::AtOnce | Self::BehindConnection(_) => frame,
        }
    }

    /// Ready once the stream may break. Nothing is handed out any more.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::AtOnce => Poll::Ready(()),
            Self::BehindConnection(outgoing) => outgoing.poll_written(cx),
            Self::BehindFrames(frames) => frames.poll(cx),
        }
    }
}

/// The frames of a stream over HTTP/2, where a connection that resets a stream forgets what it has
/// not written of it, be it the head: a task of its own writes.
///
/// They leave in their order, and are dropped once they are written. An empty one as a mark would
/// do as well, and be taken for a flood where many streams break.
#[derive(Default)]
pub(crate) struct Frames {
    unwritten: Arc<Unwritten>,
    has_frames: bool,
    due: Option<Instant>,
    timer: Timer,
}

impl Frames {
    /// The same frame, known until it has left.
    fn watch(&mut self, frame: Bytes) -> Bytes {
        self.has_frames = true;
        self.unwritten.frames.fetch_add(1, Ordering::Relaxed);
        let unwritten = Arc::clone(&self.unwritten);
        Bytes::from_owner(Watched { frame, unwritten })
    }

    /// Ready once all have left.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Before the look, so that nothing is missed in between.
        self.unwritten.body.register(cx.waker());
        if self.has_frames && self.unwritten.frames.load(Ordering::Acquire) == 0 {
            return Poll::Ready(());
        }
        let patience = if self.has_frames {
            PATIENCE
        } else {
            PATIENCE_FOR_HEAD
        };
        let due = *self.due.get_or_insert_with(|| after(patience));
        self.timer.poll(cx, due)
    }
}

impl fmt::Debug for Frames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frames")
            .field("frames", &self.unwritten.frames)
            .finish_non_exhaustive()
    }
}

/// What a connection has still to write of a stream.
#[derive(Default)]
struct Unwritten {
    frames: AtomicUsize,
    body: AtomicWaker,
}

struct Watched {
    frame: Bytes,
    unwritten: Arc<Unwritten>,
}

impl AsRef<[u8]> for Watched {
    fn as_ref(&self) -> &[u8] {
        &self.frame
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if self.unwritten.frames.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.unwritten.body.wake();
        }
    }
}
