//! Owns `Timer`: the one deadline a session waits for at a time.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::task::coop::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

#[derive(Default)]
pub(crate) struct Timer {
    /// Made once, and moved from deadline to deadline.
    sleep: Option<Pin<Box<Sleep>>>,
    is_set: bool,
}

impl Timer {
    /// Ready once the deadline has passed, which is set by the first call since the last
    /// [`clear`](Self::clear).
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        deadline: impl FnOnce() -> Instant,
    ) -> Poll<()> {
        if !self.is_set {
            self.is_set = true;
            let deadline = deadline();
            match &mut self.sleep {
                Some(sleep) => sleep.as_mut().reset(deadline),
                None => self.sleep = Some(Box::pin(sleep_until(deadline))),
            }
        }
        match &mut self.sleep {
            // What was polled before it may have used up what tokio lets a task do in a row: a server
            // that floods must not keep its own timeout from being heard.
            Some(sleep) => pin!(unconstrained(sleep.as_mut())).poll(cx),
            None => Poll::Pending,
        }
    }

    /// What was waited for has come.
    pub(crate) fn clear(&mut self) {
        self.is_set = false;
    }
}

/// The moment this far from now, or the last one that there is.
pub(crate) fn after(delay: Duration) -> Instant {
    const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    Instant::now() + delay.min(FOR_EVER)
}
