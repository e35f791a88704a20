//! `OpenBody`: the body of an open session, which runs the handler while it is read.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tidings_proto::SessionFrame;
use tokio::time::Instant;
use tracing::Span;

use crate::Reason;
use crate::drain::DrainedSession;
use crate::limits::Permit;
use crate::meters::Meters;
use crate::session_info::SessionInfo;
use crate::shared::Shared;
use crate::stream_deadline::StreamState;
use crate::timer::Timer;
use crate::work::{Failure, HandlerFuture, Work};

/// The body of an open session. Each poll polls the handler, and returns the events it has queued.
pub(crate) struct OpenBody {
    info: Arc<SessionInfo>,
    shared: Arc<Shared>,
    /// The waker of the handler and of the timer: `shared`.
    waker: Waker,
    /// `None` after the handler has returned or failed.
    work: Option<Work>,
    /// The timer of the heartbeat and of the lifetime.
    timer: Timer,
    next: Next,
    meters: Meters,
    /// The span of the handler's traces.
    span: Span,
    _permit: Option<Permit>,
    _drained: Option<DrainedSession>,
}

/// The action of the next poll. The connection and the handler take turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Lets the connection write the head, before the handler first runs.
    WriteHead,
    /// Lets the connection write a frame.
    WriteFrame,
    /// Runs the handler for the first time, even if nothing was woken.
    StartHandler,
    /// Runs the handler, if it was woken.
    RunHandler,
}

impl OpenBody {
    pub(crate) fn new(
        info: Arc<SessionInfo>,
        shared: Arc<Shared>,
        handler: HandlerFuture,
        span: Span,
        permit: Option<Permit>,
        drained: Option<DrainedSession>,
    ) -> Self {
        let meters = span.in_scope(Meters::open);
        Self {
            info,
            waker: Waker::from(Arc::clone(&shared)),
            shared,
            work: Some(Work::new(handler)),
            timer: Timer::default(),
            next: Next::WriteHead,
            meters,
            span,
            _permit: permit,
            _drained: drained,
        }
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<SessionFrame> {
        if matches!(self.next, Next::WriteHead | Next::WriteFrame) {
            self.yield_turn(cx);
            return Poll::Pending;
        }
        let start = self.shared.start_turn(cx.waker());
        if start.is_woken || self.next == Next::StartHandler {
            self.poll_timer(start.due);
            self.poll_work(start.spawned);
        }
        self.next = Next::RunHandler;
        let end = self.shared.end_turn(Instant::now().into_std());
        let Some(frame) = end.frame else {
            if end.is_woken {
                cx.waker().wake_by_ref();
            }
            return Poll::Pending;
        };
        if let SessionFrame::Data(bytes) = &frame {
            self.next = Next::WriteFrame;
            self.meters.frame(bytes.len(), end.events);
        }
        Poll::Ready(frame)
    }

    /// Gives the connection a turn to write.
    fn yield_turn(&mut self, cx: &Context<'_>) {
        let has_work = self.shared.yield_turn(cx.waker());
        let is_new = self.next == Next::WriteHead;
        if is_new
            && let Some(ends_at) = self.info.ends_at
            && let Some(stream) = StreamState::current()
        {
            stream.handle_lifetime(ends_at);
        }
        if has_work || is_new {
            cx.waker().wake_by_ref();
        }
        self.next = if is_new {
            Next::StartHandler
        } else {
            Next::RunHandler
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

    /// Sends at most one heartbeat a turn. Making a heartbeat may take longer than its period, and the
    /// handler must run in between.
    fn poll_timer(&mut self, due: Option<std::time::Instant>) {
        if !self.is_past(due) {
            return;
        }
        let now = Instant::now().into_std();
        // The closure that makes a heartbeat is the caller's code.
        let outcome = catch_unwind(AssertUnwindSafe(|| self.shared.handle_timeout(now)));
        if let Err(panic) = outcome {
            self.end(Err(Failure::Panic(panic)));
        }
        if self.is_past(self.shared.poll_timeout()) {
            self.waker.wake_by_ref();
        }
    }

    /// Whether this instant has passed. If not, the timer wakes the body then.
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
            // After a close an error is no failure: `?` returns the error of a send that came too late.
            // A panic is always a defect.
            if was_open || matches!(failure, Failure::Panic(_)) {
                let _entered = self.span.enter();
                failure.trace(self.path());
            }
        }
        let work = self.work.take();
        self.drop_guarded(work);
    }

    fn path(&self) -> &str {
        self.info.request().uri.path()
    }

    /// Drops a value whose drop may run the caller's code. A panic there must not reach the connection,
    /// nor the other streams on it.
    fn drop_guarded<T>(&self, value: T) {
        let _entered = self.span.enter();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
            Failure::Panic(panic).trace(self.path());
        }
    }
}

impl Drop for OpenBody {
    fn drop(&mut self) {
        // First, so that the drops of the handler see a closed session.
        let outcome = self.shared.abandon();
        let work = self.work.take();
        self.drop_guarded((work, outcome.remains));
        let _entered = self.span.enter();
        self.meters.close(outcome.reason, &outcome.sent);
    }
}

impl fmt::Debug for OpenBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenBody")
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}
