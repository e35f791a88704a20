//! `StreamBody`: a response body whose bytes are counted until they are written.

use std::fmt;
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};

use crate::stream_deadline::StreamState;

/// A response body whose bytes are counted until they are written, for a
/// [`StreamDeadline`](crate::StreamDeadline). Outside of one, it only passes the frames on.
///
/// The body inside is dropped when it has ended. The end itself is sent after the last byte was written:
/// until then the stream can be reset, so a client that does not read the end cannot keep it in memory.
#[derive(Debug)]
pub struct StreamBody<B> {
    /// `None` after its end.
    body: Option<B>,
    stream: Stream,
}

/// The stream that a body belongs to.
#[derive(Debug)]
enum Stream {
    /// Found when the body is first polled.
    Unknown,
    /// None with a deadline.
    Unguarded,
    Guarded(Arc<StreamState>),
}

impl Stream {
    fn find(&mut self) -> Option<&Arc<StreamState>> {
        if let Self::Unknown = self {
            *self = StreamState::current().map_or(Self::Unguarded, Self::Guarded);
        }
        self.state()
    }

    fn state(&self) -> Option<&Arc<StreamState>> {
        match self {
            Self::Unknown | Self::Unguarded => None,
            Self::Guarded(state) => Some(state),
        }
    }
}

impl<B> StreamBody<B> {
    /// Counts the bytes of this body.
    #[must_use]
    pub fn new(body: B) -> Self {
        Self {
            body: Some(body),
            stream: Stream::Unknown,
        }
    }
}

impl<B: Body + Unpin> Body for StreamBody<B> {
    type Data = StreamBytes<B::Data>;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, B::Error>>> {
        let this = &mut *self;
        let stream = this.stream.find();
        if let Some(body) = &mut this.body {
            if let Some(frame) = ready!(Pin::new(body).poll_frame(cx)) {
                let count = |data| StreamBytes::new(data, stream.cloned());
                return Poll::Ready(Some(frame.map(|frame| frame.map_data(count))));
            }
            this.body = None;
        }
        if let Some(stream) = stream {
            ready!(stream.poll_written(cx));
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        match (&self.body, self.stream.state()) {
            (Some(body), _) => body.is_end_stream(),
            (None, Some(stream)) => !stream.has_unwritten(),
            (None, None) => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        let body = self.body.as_ref();
        body.map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

/// Bytes of a [`StreamBody`], which report when they are written.
pub struct StreamBytes<D: Buf = Bytes> {
    data: D,
    stream: Option<Arc<StreamState>>,
}

impl<D: Buf> StreamBytes<D> {
    fn new(data: D, stream: Option<Arc<StreamState>>) -> Self {
        if let Some(stream) = &stream {
            stream.handle_returned(data.remaining());
        }
        Self { data, stream }
    }
}

impl<D: Buf> Buf for StreamBytes<D> {
    fn remaining(&self) -> usize {
        self.data.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.data.chunk()
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.data.chunks_vectored(slices)
    }

    fn advance(&mut self, count: usize) {
        self.data.advance(count);
        if let Some(stream) = &self.stream {
            stream.handle_written(count);
        }
    }
}

impl<D: Buf> Drop for StreamBytes<D> {
    fn drop(&mut self) {
        if let Some(stream) = &self.stream {
            stream.handle_dropped(self.data.remaining());
        }
    }
}

impl<D: Buf> fmt::Debug for StreamBytes<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamBytes")
            .field("remaining", &self.data.remaining())
            .finish_non_exhaustive()
    }
}
