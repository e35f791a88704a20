//! Owns `SessionBody`: a response body that runs the handler as it is read.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, SizeHint};
use tidings_proto::SessionFrame;

use crate::BrokenSession;
#[cfg(feature = "compression")]
use crate::coding::Coding;
use crate::cut::Cut;
#[cfg(feature = "compression")]
use crate::encoded_body::EncodedBody;
use crate::open_body::OpenBody;

/// The body of an event stream: owns the handler's future and polls it when it is polled.
///
/// There is no task and no channel. After each frame, and before the handler first runs, it
/// answers `Pending` once: a connection writes what it has only when the body has no more, so the
/// head and every frame leave before the handler goes on.
///
/// Once it has ended it stays ended.
#[derive(Debug, Default)]
pub struct SessionBody {
    state: State,
    /// What the break waits for, if it breaks.
    cut: Cut,
}

#[derive(Debug, Default)]
enum State {
    Open(Box<OpenBody>),
    #[cfg(feature = "compression")]
    Encoded(Box<EncodedBody>),
    /// It breaks once what was sent has left.
    Breaking,
    /// Of a stream whose head alone was asked for: has no length, as the stream has none.
    HeadOnly,
    /// Ended, or never begun.
    #[default]
    Over,
}

impl SessionBody {
    pub(crate) fn open(open: OpenBody) -> Self {
        Self::in_state(State::Open(Box::new(open)))
    }

    /// The same, and if it breaks, behind this.
    pub(crate) fn with_cut(self, cut: Cut) -> Self {
        Self { cut, ..self }
    }

    /// The same, in this coding.
    #[cfg(feature = "compression")]
    pub(crate) fn encoded(self, coding: Coding) -> Self {
        let state = match self.state {
            State::Open(open) => State::Encoded(Box::new(EncodedBody::new(*open, coding))),
            other => other,
        };
        Self { state, ..self }
    }

    pub(crate) fn head_only() -> Self {
        Self::in_state(State::HeadOnly)
    }

    pub(crate) fn empty() -> Self {
        Self::default()
    }

    fn in_state(state: State) -> Self {
        Self {
            state,
            cut: Cut::default(),
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
            State::Open(open) => ready!(open.poll_frame(cx)),
            #[cfg(feature = "compression")]
            State::Encoded(encoded) => ready!(encoded.poll_frame(cx)),
            State::Breaking => SessionFrame::Break,
            State::HeadOnly | State::Over => return Poll::Ready(None),
        };
        Poll::Ready(match frame {
            SessionFrame::Data(bytes) => Some(Ok(http_body::Frame::data(this.cut.watch(bytes)))),
            SessionFrame::Break => {
                // The handler is gone meanwhile.
                this.state = State::Breaking;
                ready!(this.cut.poll(cx));
                this.state = State::Over;
                Some(Err(BrokenSession::new()))
            }
            SessionFrame::End => {
                this.state = State::Over;
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.state, State::Over)
    }

    fn size_hint(&self) -> SizeHint {
        match self.state {
            State::Over => SizeHint::with_exact(0),
            _ => SizeHint::default(),
        }
    }
}
