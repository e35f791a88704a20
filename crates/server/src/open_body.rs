//! `OpenBody`: the body of an open session, which runs its handler or reads its feed while it is read.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll, Waker};

use tidings_proto::SessionFrame;
use tokio::time::Instant;
use tracing::Span;

use crate::Reason;
use crate::drain::DrainedSession;
use crate::ending::Ending;
use crate::limits::Permit;
use crate::meters::Meters;
use crate::source::Source;
use crate::stream_deadline::StreamState;
use crate::timer::Timer;
use crate::work::Failure;

/// The body of an open session, whatever its source.
pub(crate) trait OpenFrames: fmt::Debug + Send {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<SessionFrame>;
}

/// The body of an open session. Each poll polls the work of its source, a handler or a feed, and returns the
/// events that were queued.
pub(crate) struct OpenBody<S: Source> {
    source: S,
    /// The waker of the work and of the timer.
    waker: Waker,
    /// The timer of the heartbeat and of the lifetime.
    timer: Timer,
    next: Next,
    meters: Meters,
    /// The span of the session's traces.
    span: Span,
    _counted: Counted,
}

/// Where a session counts until it is dropped: in its limits and in its drain.
pub(crate) struct Counted {
    _permit: Option<Permit>,
    _drained: Option<DrainedSession>,
}

impl Counted {
    pub(crate) fn new(permit: Option<Permit>, drained: Option<DrainedSession>) -> Self {
        Self {
            _permit: permit,
            _drained: drained,
        }
    }
}

/// The action of the next poll. The connection and the work take turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Lets the connection write the head, before the work first runs.
    WriteHead,
    /// Lets the connection write a frame.
    WriteFrame,
    /// Runs the work for the first time, even if nothing was woken.
    StartWork,
    /// Runs the work, if it was woken.
    RunWork,
}

impl<S: Source> OpenBody<S> {
    pub(crate) fn new(source: S, span: Span, counted: Counted) -> Self {
        let meters = span.in_scope(Meters::open);
        Self {
            waker: source.waker(),
            source,
            timer: Timer::default(),
            next: Next::WriteHead,
            meters,
            span,
            _counted: counted,
        }
    }

    /// Gives the connection a turn to write.
    fn yield_turn(&mut self, cx: &Context<'_>) {
        let has_work = self.source.yield_turn(cx.waker());
        let is_new = self.next == Next::WriteHead;
        if is_new
            && let Some(ends_at) = self.source.ends_at()
            && let Some(stream) = StreamState::current()
        {
            stream.handle_lifetime(ends_at.into());
        }
        if has_work || is_new {
            cx.waker().wake_by_ref();
        }
        self.next = if is_new {
            Next::StartWork
        } else {
            Next::RunWork
        };
    }

    fn poll_work(&mut self) {
        let poll = {
            let _entered = self.span.enter();
            let mut cx = Context::from_waker(&self.waker);
            // After a panic the work is only dropped.
            catch_unwind(AssertUnwindSafe(|| self.source.poll_work(&mut cx)))
        };
        match poll {
            Ok(Poll::Pending) => {}
            Ok(Poll::Ready(result)) => self.end(result.map_err(Failure::Error)),
            Err(panic) => self.end(Err(Failure::Panic(panic))),
        }
    }

    /// Sends at most one heartbeat a turn. Making a heartbeat may take longer than its period, and the
    /// work must run in between.
    fn poll_timer(&mut self, due: Option<std::time::Instant>) {
        if !self.is_past(due) {
            return;
        }
        let now = Instant::now().into_std();
        // The closure that makes a heartbeat is the caller's code.
        let outcome = catch_unwind(AssertUnwindSafe(|| self.source.handle_timeout(now)));
        if let Err(panic) = outcome {
            self.end(Err(Failure::Panic(panic)));
        }
        if self.is_past(self.source.poll_timeout()) {
            self.waker.wake_by_ref();
        }
    }

    /// Whether this instant has passed. If not, the timer wakes the body then.
    fn is_past(&mut self, due: Option<std::time::Instant>) -> bool {
        let mut cx = Context::from_waker(&self.waker);
        due.is_some_and(|due| self.timer.poll_again(&mut cx, due.into()).is_ready())
    }

    fn end(&mut self, result: Result<(), Failure>) {
        let was_open = self.source.end(if result.is_ok() {
            Ending::clean(Reason::Returned)
        } else {
            Ending::cut(Reason::Failed)
        });
        if let Err(failure) = result {
            // After a close an error is no failure: `?` returns the error of a send that came too late.
            // A panic is always a defect.
            if was_open || matches!(failure, Failure::Panic(_)) {
                let _entered = self.span.enter();
                failure.trace(self.source.path());
            }
        }
        self.guard_drop(S::drop_work);
    }

    /// Drops parts of the source whose drop may run the caller's code. A panic there must not reach the
    /// connection, nor the other streams on it.
    fn guard_drop(&mut self, drop: impl FnOnce(&mut S)) {
        let _entered = self.span.enter();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(&mut self.source))) {
            Failure::Panic(panic).trace(self.source.path());
        }
    }
}

impl<S: Source> OpenFrames for OpenBody<S> {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<SessionFrame> {
        if matches!(self.next, Next::WriteHead | Next::WriteFrame) {
            self.yield_turn(cx);
            return Poll::Pending;
        }
        let start = self.source.start_turn(cx.waker());
        if start.is_woken || self.next == Next::StartWork {
            self.poll_timer(start.due);
            self.poll_work();
        }
        self.next = Next::RunWork;
        let end = self.source.end_turn(Instant::now().into_std());
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
}

impl<S: Source> Drop for OpenBody<S> {
    fn drop(&mut self) {
        // First, so that the drops of the work see a closed session.
        let (outcome, remains) = self.source.abandon();
        self.guard_drop(|_| drop(remains));
        let _entered = self.span.enter();
        self.meters.close(outcome.reason, &outcome.sent);
    }
}

impl<S: Source> fmt::Debug for OpenBody<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenBody")
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}
