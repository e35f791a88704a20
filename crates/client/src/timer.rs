//! `Timer`: the one deadline that a session waits for at a time.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::task::coop::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

#[derive(Default)]
pub(crate) struct Timer {
    /// Allocated once, and reset for each deadline.
    sleep: Option<Pin<Box<Sleep>>>,
    is_set: bool,
}

impl Timer {
    /// Ready once the deadline has passed. The first call after [`clear`](Self::clear) sets it.
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
            // The body may have used up the budget that tokio gives a task. A server that floods must
            // not disable its own timeout.
            Some(sleep) => pin!(unconstrained(sleep.as_mut())).poll(cx),
            None => Poll::Pending,
        }
    }

    /// Ends the wait.
    pub(crate) fn clear(&mut self) {
        self.is_set = false;
    }
}

/// The instant after this delay, at most a century from now.
pub(crate) fn after(delay: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    Instant::now() + delay.min(CENTURY)
}
