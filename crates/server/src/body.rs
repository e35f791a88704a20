//! Owns `SessionBody`: a response body that runs the handler as it is read.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http_body::{Body, SizeHint};
use tidings_proto::Frame;
use tokio::time::Instant;
use tracing::Span;

#[cfg(feature = "compression")]
use crate::coding::Coding;
use crate::cut::Cut;
use crate::drain::DrainedSession;
#[cfg(feature = "compression")]
use crate::encoded_body::EncodedBody;
use crate::head::Head;
use crate::limits::Permit;
use crate::meters::Meters;
use crate::shared::Shared;
use crate::timer::Timer;
use crate::work::{Failure, HandlerFuture, Work};
use crate::{BrokenSession, Reason};

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

pub(crate) struct OpenBody {
    head: Arc<Head>,
    shared: Arc<Shared>,
    /// Of the handler and the timer: `shared`.
    waker: Waker,
    /// `None` once it is done.
    work: Option<Work>,
    /// Of the heartbeat and the lifetime.
    timer: Timer,
    turn: Turn,
    meters: Meters,
    /// What the handler says belongs to.
    span: Span,
    _permit: Option<Permit>,
    _drained: Option<DrainedSession>,
}

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// The connection's, to write the head; the handler has not run.
    Head,
    /// The connection's, to write a frame.
    Frame,
    /// The handler's, for the first time.
    First,
    /// The handler's.
    Handler,
}

impl SessionBody {
    pub(crate) fn open(
        head: Arc<Head>,
        shared: Arc<Shared>,
        handler: HandlerFuture,
        span: Span,
        permit: Option<Permit>,
        drained: Option<DrainedSession>,
    ) -> Self {
        let meters = span.in_scope(Meters::open);
        let open = OpenBody {
            head,
            waker: Waker::from(Arc::clone(&shared)),
            shared,
            work: Some(Work::new(handler)),
            timer: Timer::default(),
            turn: Turn::Head,
            meters,
            span,
            _permit: permit,
            _drained: drained,
        };
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
            State::Breaking => Frame::Break,
            State::HeadOnly | State::Over => return Poll::Ready(None),
        };
        Poll::Ready(match frame {
            Frame::Data(bytes) => Some(Ok(http_body::Frame::data(this.cut.watch(bytes)))),
            Frame::Break => {
                // The handler is gone meanwhile.
                this.state = State::Breaking;
                ready!(this.cut.poll(cx));
                this.state = State::Over;
                Some(Err(BrokenSession::new()))
            }
            _ => {
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

impl OpenBody {
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Frame> {
        if matches!(self.turn, Turn::Head | Turn::Frame) {
            self.yield_turn(cx);
            return Poll::Pending;
        }
        let start = self.shared.start_turn(cx.waker());
        if start.is_woken || self.turn == Turn::First {
            self.poll_timer(start.due);
            self.poll_work(start.spawned);
        }
        self.turn = Turn::Handler;
        let turn = self.shared.end_turn(Instant::now().into_std());
        let Some(frame) = turn.frame else {
            if turn.is_woken {
                cx.waker().wake_by_ref();
            }
            return Poll::Pending;
        };
        if let Frame::Data(bytes) = &frame {
            self.turn = Turn::Frame;
            self.meters.frame(bytes.len(), turn.events);
        }
        Poll::Ready(frame)
    }

    fn yield_turn(&mut self, cx: &Context<'_>) {
        let has_work = self.shared.yield_turn(cx.waker());
        if has_work || self.turn == Turn::Head {
            cx.waker().wake_by_ref();
        }
        self.turn = match self.turn {
            Turn::Head | Turn::First => Turn::First,
            Turn::Frame | Turn::Handler => Turn::Handler,
        };
    }

    fn poll_work(&mut self, spawned: Vec<HandlerFuture>) {
        let Some(work) = &mut self.work else {
            return;
        };
        work.spawn(spawned);
        let poll = {
            let _entered = self.span.enter();
            work.poll(&mut Context::from_waker(&self.waker))
        };
        if let Poll::Ready(result) = poll {
            self.end(result);
        }
    }

    /// Once a turn: what makes a heartbeat may take longer than its period, and the handler has its
    /// turn in between.
    fn poll_timer(&mut self, due: Option<std::time::Instant>) {
        if !self.is_past(due) {
            return;
        }
        let now = Instant::now().into_std();
        // What a heartbeat sends may be made by the caller's code.
        let beat = catch_unwind(AssertUnwindSafe(|| self.shared.handle_timeout(now)));
        if let Err(panic) = beat {
            self.end(Err(Failure::Panic(panic)));
        }
        if self.is_past(self.shared.poll_timeout()) {
            self.waker.wake_by_ref();
        }
    }

    /// Whether this has come; if not, the timer wakes when it does.
    fn is_past(&mut self, due: Option<std::time::Instant>) -> bool {
        let mut cx = Context::from_waker(&self.waker);
        due.is_some_and(|due| self.timer.poll(&mut cx, due.into()).is_ready())
    }

    fn end(&mut self, result: Result<(), Failure>) {
        let reason = if result.is_ok() {
            Reason::Returned
        } else {
            Reason::Failed
        };
        let was_open = self.shared.end(reason);
        if let Err(failure) = result {
            // After a close a handler has nothing more to say, as when a `?` returns that a send
            // came too late; a panic is always a defect.
            if was_open || matches!(failure, Failure::Panic(_)) {
                let _entered = self.span.enter();
                failure.trace(self.path());
            }
        }
        let work = self.work.take();
        self.let_go(work);
    }

    fn path(&self) -> &str {
        self.head.request().uri.path()
    }

    /// Drops what may run the caller's code, whose panic is to take down neither the connection nor
    /// the other streams on it.
    fn let_go<T>(&self, dropped: T) {
        let _entered = self.span.enter();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(dropped))) {
            Failure::Panic(panic).trace(self.path());
        }
    }
}

impl Drop for OpenBody {
    fn drop(&mut self) {
        // Whoever still holds a handle sends into nothing from here on.
        let abandoned = self.shared.abandon();
        let work = self.work.take();
        self.let_go((work, abandoned.left));
        let _entered = self.span.enter();
        self.meters.close(abandoned.reason, &abandoned.sent);
    }
}

impl fmt::Debug for OpenBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenBody")
            .field("turn", &self.turn)
            .finish_non_exhaustive()
    }
}
