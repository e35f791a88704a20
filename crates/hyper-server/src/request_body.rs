//! `RequestBody`: the body of a request, which records whether it was read to its end.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

/// The body of a request.
///
/// It is hyper's [`Incoming`], and records whether it was read to its end. hyper keeps the connection of a
/// stream whose request has a rest that nobody has read, because only hyper knows where that rest ends.
#[derive(Debug)]
pub struct RequestBody {
    body: Incoming,
    progress: ReadProgress,
}

/// Whether a body was read to its end.
#[derive(Debug, Clone)]
pub(crate) enum ReadProgress {
    /// The body is empty.
    Nothing,
    /// Set when the end was read.
    Until(Arc<AtomicBool>),
}

impl ReadProgress {
    pub(crate) fn is_at_end(&self) -> bool {
        match self {
            Self::Nothing => true,
            Self::Until(is_at_end) => is_at_end.load(Ordering::Acquire),
        }
    }

    fn end(&self) {
        if let Self::Until(is_at_end) = self {
            is_at_end.store(true, Ordering::Release);
        }
    }
}

impl RequestBody {
    pub(crate) fn new(body: Incoming) -> Self {
        let progress = if body.is_end_stream() {
            ReadProgress::Nothing
        } else {
            ReadProgress::Until(Arc::default())
        };
        Self { body, progress }
    }

    pub(crate) fn progress(&self) -> ReadProgress {
        self.progress.clone()
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        let is_error = matches!(frame, Some(Err(_)));
        if frame.is_none() || (!is_error && this.body.is_end_stream()) {
            this.progress.end();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
