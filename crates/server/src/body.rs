//! `SessionBody`: a response body that runs the handler while it is read.

use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, SizeHint};
use tidings_proto::SessionFrame;

use crate::BrokenSession;
#[cfg(feature = "compression")]
use crate::coding::Coding;
use crate::cut::CutAfter;
#[cfg(feature = "compression")]
use crate::encoded_body::EncodedBody;
use crate::open_body::OpenFrames;

/// The body of an event stream. It owns the future of the handler, and each poll of the body polls the
/// handler: there is no task and no channel.
///
/// After each frame, and before the handler first runs, the body returns `Pending` once. A connection
/// writes only when the body has no more data, so the head and each frame leave before the handler
/// continues.
///
/// A body that has ended stays ended.
#[derive(Debug, Default)]
pub struct SessionBody {
    state: BodyState,
    /// The writes that a cut waits for.
    cut_after: CutAfter,
}

#[derive(Debug, Default)]
enum BodyState {
    Open(Box<dyn OpenFrames>),
    #[cfg(feature = "compression")]
    Encoded(Box<EncodedBody>),
    /// The handler has failed. The response is cut when the sent events have left.
    Breaking,
    /// A body of this one frame.
    Whole(Bytes),
    /// The answer to a HEAD request. Like the stream it stands for, it has no known length.
    HeadOnly,
    /// The stream has ended, or there was none.
    #[default]
    Over,
}

impl SessionBody {
    pub(crate) fn open(open: impl OpenFrames + 'static) -> Self {
        Self::in_state(BodyState::Open(Box::new(open)))
    }

    /// The same body. A cut waits for these writes.
    pub(crate) fn with_cut_after(self, cut_after: CutAfter) -> Self {
        Self { cut_after, ..self }
    }

    /// The same body, compressed in this coding.
    #[cfg(feature = "compression")]
    pub(crate) fn encoded(self, coding: Coding) -> Self {
        let state = match self.state {
            BodyState::Open(open) => BodyState::Encoded(Box::new(EncodedBody::new(open, coding))),
            BodyState::HeadOnly => BodyState::HeadOnly,
            BodyState::Encoded(_) | BodyState::Breaking | BodyState::Whole(_) | BodyState::Over => {
                unreachable!("only a new stream or its head is compressed")
            }
        };
        Self { state, ..self }
    }

    pub(crate) fn head_only() -> Self {
        Self::in_state(BodyState::HeadOnly)
    }

    pub(crate) fn whole(bytes: Bytes) -> Self {
        Self::in_state(BodyState::Whole(bytes))
    }

    pub(crate) fn empty() -> Self {
        Self::default()
    }

    fn in_state(state: BodyState) -> Self {
        Self {
            state,
            cut_after: CutAfter::default(),
        }
    }
}

impl Body for SessionBody {
    type Data = Bytes;
    type Error = BrokenSession;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, BrokenSession>>> {
        let this = &mut *self;
        let frame = match &mut this.state {
            BodyState::Open(open) => ready!(open.poll_frame(cx)),
            #[cfg(feature = "compression")]
            BodyState::Encoded(encoded) => ready!(encoded.poll_frame(cx)),
            BodyState::Breaking => SessionFrame::Break,
            BodyState::Whole(bytes) => {
                let bytes = mem::take(bytes);
                this.state = BodyState::Over;
                return Poll::Ready(Some(Ok(http_body::Frame::data(bytes))));
            }
            BodyState::HeadOnly | BodyState::Over => return Poll::Ready(None),
        };
        Poll::Ready(match frame {
            SessionFrame::Data(bytes) => {
                let tracked = this.cut_after.track(bytes);
                Some(Ok(http_body::Frame::data(tracked)))
            }
            SessionFrame::Break => {
                // This drops the handler before the wait.
                this.state = BodyState::Breaking;
                ready!(this.cut_after.poll(cx));
                this.state = BodyState::Over;
                Some(Err(BrokenSession::new()))
            }
            SessionFrame::End => {
                this.state = BodyState::Over;
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.state, BodyState::Over)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.state {
            BodyState::Over => SizeHint::with_exact(0),
            BodyState::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            #[cfg(feature = "compression")]
            BodyState::Encoded(_) => SizeHint::default(),
            BodyState::Open(_) | BodyState::Breaking | BodyState::HeadOnly => SizeHint::default(),
        }
    }
}
