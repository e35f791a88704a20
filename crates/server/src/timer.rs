//! `Timer`: a deadline that is moved often and seldom reached.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::task::coop::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

/// A deadline that is moved often and seldom reached.
///
/// It allocates when it is first polled. Moving the deadline later is cheap: the sleep goes off at the
/// old deadline, and is then set to the new one.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    /// When it wakes the task that polled it last.
    set_for: Option<Instant>,
}

impl Timer {
    /// Ready when this instant has passed.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, due: Instant) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(due)));
        loop {
            if sleep.deadline() > due {
                sleep.as_mut().reset(due);
            }
            // Other futures of this task may have used up tokio's cooperative budget.
            ready!(pin!(unconstrained(sleep.as_mut())).poll(cx));
            if sleep.deadline() == due {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(due);
        }
    }

    /// As [`poll`](Self::poll), for callers that pass the same waker at each poll. If the set deadline
    /// is not reached, the sleep is not touched, so a busy session does not load its memory.
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

/// The instant after this delay, at most about 100 years from now.
pub(crate) fn after(delay: Duration) -> Instant {
    const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    Instant::now() + delay.min(FOR_EVER)
}
