//! `CutAfter`: the writes that a failed session waits for before its response is cut.

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
use crate::outgoing::Streaming;
use crate::timer::{Timer, after};

/// How long the frames of a stream may take to leave: 5 s. Then the response is cut anyway.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a head may take to leave if no frame follows it: 100 ms. Nothing reports when it has left.
const PATIENCE_FOR_HEAD: Duration = Duration::from_millis(100);

/// The writes that a failed session waits for before its response is cut.
#[derive(Debug, Default)]
pub(crate) enum CutAfter {
    /// None: the connection has had a turn to write before each poll.
    #[default]
    Nothing,
    /// All writes of the connection, which belongs to this stream alone.
    Connection(Streaming),
    /// The frames of this stream.
    Frames(Box<UnwrittenFrames>),
}

impl CutAfter {
    /// For the stream that answers this request.
    pub(crate) fn of(request: &Parts) -> Self {
        if request.version >= Version::HTTP_2 {
            return Self::Frames(Box::default());
        }
        let outgoing = request.extensions.get::<Outgoing>();
        outgoing.map_or(Self::Nothing, |outgoing| {
            Self::Connection(Streaming::new(outgoing))
        })
    }

    /// Returns the frame, tracked until it was written if the cut waits for frames.
    pub(crate) fn track(&mut self, frame: Bytes) -> Bytes {
        match self {
            Self::Frames(frames) => frames.track(frame),
            Self::Nothing | Self::Connection(_) => frame,
        }
    }

    /// Ready when the response may be cut. Called after the last frame.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Nothing => Poll::Ready(()),
            Self::Connection(streaming) => streaming.poll_written(cx),
            Self::Frames(frames) => frames.poll(cx),
        }
    }
}

/// The unwritten frames of a stream over HTTP/2. There another task writes, and a connection that
/// resets a stream drops the unwritten part of it, even the head.
///
/// Frames are written in order, and dropped after they were written, so the count of undropped frames
/// shows when all have left. An empty frame at the end would show that too, but many such frames, as
/// when many streams fail, look like a flood to the peer.
#[derive(Default)]
pub(crate) struct UnwrittenFrames {
    unwritten: Arc<Unwritten>,
    has_frames: bool,
    due: Option<Instant>,
    timer: Timer,
}

impl UnwrittenFrames {
    /// Returns the frame, tracked until it was written.
    fn track(&mut self, frame: Bytes) -> Bytes {
        self.has_frames = true;
        self.unwritten.frames.fetch_add(1, Ordering::Relaxed);
        let unwritten = Arc::clone(&self.unwritten);
        Bytes::from_owner(TrackedFrame { frame, unwritten })
    }

    /// Ready when all frames were written.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Registered before the count is read, so that no change in between is missed.
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

impl fmt::Debug for UnwrittenFrames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnwrittenFrames")
            .field("frames", &self.unwritten.frames)
            .finish_non_exhaustive()
    }
}

/// The number of unwritten frames of a stream, and the body's task, which waits for them.
#[derive(Default)]
struct Unwritten {
    frames: AtomicUsize,
    body: AtomicWaker,
}

struct TrackedFrame {
    frame: Bytes,
    unwritten: Arc<Unwritten>,
}

impl AsRef<[u8]> for TrackedFrame {
    fn as_ref(&self) -> &[u8] {
        &self.frame
    }
}

impl Drop for TrackedFrame {
    fn drop(&mut self) {
        if self.unwritten.frames.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.unwritten.body.wake();
        }
    }
}
