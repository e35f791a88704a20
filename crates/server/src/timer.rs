//! Owns `Timer`: a deadline that is moved often and seldom reached.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::task::coop::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

/// Costs nothing until it is first polled, and next to nothing when its deadline moves on: what was
/// set goes off early then, and is set anew.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    /// When it wakes whoever polled it last.
    set_for: Option<Instant>,
}

impl Timer {
    /// Ready once this instant has passed.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, due: Instant) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(due)));
        loop {
            if sleep.deadline() > due {
                sleep.as_mut().reset(due);
            }
            // What was polled before it may have used up what tokio lets a task do in a row.
            ready!(pin!(unconstrained(sleep.as_mut())).poll(cx));
            if sleep.deadline() == due {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(due);
        }
    }

    /// As [`poll`](Self::poll), for who gives the same waker at each poll: what is set and not reached
    /// is not touched, which spares a busy session the memory that it lies in.
    pub(crate) fn poll_again(&mut self, cx: &mut Context<'_>, due: Instant) -> Poll<()> {
        if self
            .set_for
            .is_some_and(|set| set <= due && Instant::now() < set)
        {
            return Poll::Pending;
        }
        let poll = self.poll(cx, due);
        let deadline = |sleep: &Pin<Box<Sleep>>| sleep.deadline();
        self.set_for = self
            .sleep
            .as_ref()
            .filter(|_| poll.is_pending())
            .map(deadline);
        poll
    }
}

/// The moment this far from now, or the last one that there is.
pub(crate) fn after(delay: Duration) -> Instant {
    const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    Instant::now() + delay.min(FOR_EVER)
}
