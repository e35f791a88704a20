//! `Turns`: how many reads of the log work for subscribers at once, and how much each does in one poll.

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::yield_now;

/// The maximum number of pages that the hub reads for its subscribers at once. A page of a log in memory
/// takes up to 0.1 ms of a thread, so another task waits a few milliseconds for its turn at most.
const PAGES_AT_ONCE: usize = 32;
/// The maximum number of subscribers that look for the latest event of each key at once. Each takes up to
/// 8 MiB for the keys it has found.
const SCANS_AT_ONCE: usize = 4;

/// The turns of all subscribers of a hub, in the order in which they asked.
#[derive(Debug)]
pub(crate) struct Turns {
    pages: Semaphore,
    scans: Semaphore,
}

/// A turn. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Turn<'a>(#[allow(dead_code, reason = "held for its drop")] SemaphorePermit<'a>);

impl Default for Turns {
    fn default() -> Self {
        Self {
            pages: Semaphore::new(PAGES_AT_ONCE),
            scans: Semaphore::new(SCANS_AT_ONCE),
        }
    }
}

impl Turns {
    /// Waits for the turn to read one page.
    ///
    /// The task yields before each page, so one poll reads at most one. It has its turn meanwhile:
    /// otherwise any number of tasks with a page to read would be ahead of a task with an event to send.
    pub(crate) async fn page(&self) -> Turn<'_> {
        let turn = take(&self.pages).await;
        yield_now().await;
        turn
    }

    /// Waits for the turn to look for the latest event of each key. Each page of it needs a turn too.
    pub(crate) async fn scan(&self) -> Turn<'_> {
        take(&self.scans).await
    }
}

async fn take(turns: &Semaphore) -> Turn<'_> {
    match turns.acquire().await {
        Ok(permit) => Turn(permit),
        Err(_) => unreachable!("the semaphores of a hub are never closed"),
    }
}
