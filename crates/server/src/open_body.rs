//! Owns `OpenBody`: a session that is open, as whoever reads its body finds it.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tidings_proto::SessionFrame;
use tokio::time::Instant;
use tracing::Span;

use crate::Reason;
use crate::drain::DrainedSession;
use crate::head::Head;
use crate::limits::Permit;
use crate::meters::Meters;
use crate::shared::Shared;
use crate::timer::Timer;
use crate::work::{Failure, HandlerFuture, Work};

/// Polls the handler when it is polled, and hands out what that queued.
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

impl OpenBody {
    pub(crate) fn new(
        head: Arc<Head>,
        shared: Arc<Shared>,
        handler: HandlerFuture,
        span: Span,
        permit: Option<Permit>,
        drained: Option<DrainedSession>,
    ) -> Self {
        let meters = span.in_scope(Meters::open);
        Self {
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
        }
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<SessionFrame> {
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
        if let SessionFrame::Data(bytes) = &frame {
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
        due.is_some_and(|due| self.timer.poll_again(&mut cx, due.into()).is_ready())
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
