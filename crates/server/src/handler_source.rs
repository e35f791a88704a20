//! `HandlerSource`: a session's handler, as the source of a body.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use crate::HandlerError;
use crate::ending::Ending;
use crate::outcome::Outcome;
use crate::session_info::SessionInfo;
use crate::shared::{Remains, Shared};
use crate::source::{Source, TurnEnd, TurnStart};
use crate::work::{HandlerFuture, Work};

/// The source of a session with a handler.
pub(crate) struct HandlerSource {
    info: Arc<SessionInfo>,
    shared: Arc<Shared>,
    /// `None` after the handler has returned or failed.
    work: Option<Work>,
}

impl HandlerSource {
    pub(crate) fn new(info: Arc<SessionInfo>, shared: Arc<Shared>, handler: HandlerFuture) -> Self {
        Self {
            info,
            shared,
            work: Some(Work::new(handler)),
        }
    }
}

impl Source for HandlerSource {
    type Remains = (Option<Work>, Remains);

    fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.shared))
    }

    fn ends_at(&self) -> Option<Instant> {
        self.info.ends_at.map(Into::into)
    }

    fn path(&self) -> &str {
        self.info.request().uri.path()
    }

    fn yield_turn(&mut self, body: &Waker) -> bool {
        self.shared.yield_turn(body)
    }

    fn start_turn(&mut self, body: &Waker) -> TurnStart {
        let (start, spawned) = self.shared.start_turn(body);
        if let Some(work) = &mut self.work {
            work.spawn(spawned);
        }
        start
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.shared.poll_timeout()
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.shared.handle_timeout(now);
    }

    fn poll_work(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HandlerError>> {
        let work = self.work.as_mut();
        work.map_or(Poll::Pending, |work| work.poll(cx))
    }

    fn end(&mut self, ending: Ending) -> bool {
        self.shared.end(ending)
    }

    fn drop_work(&mut self) {
        // The handler may have spawned them in its last turn.
        let never_ran = self.shared.take_spawned();
        self.work = None;
        drop(never_ran);
    }

    fn end_turn(&mut self, now: Instant) -> TurnEnd {
        self.shared.end_turn(now)
    }

    fn abandon(&mut self) -> (Outcome, Self::Remains) {
        let (outcome, remains) = self.shared.abandon();
        (outcome, (self.work.take(), remains))
    }
}
