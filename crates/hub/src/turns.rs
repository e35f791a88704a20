//! `Turns`: how many subscribers read the log or make a snapshot at once, and how much each reads in a poll.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::yield_now;
use tokio::time::timeout;

/// The maximum number of pages that the hub reads for its subscribers at once. A page of a log in memory
/// takes up to 0.1 ms of a thread, so another task waits a few milliseconds for its turn at most.
const PAGES_AT_ONCE: usize = 32;
/// The maximum number of subscribers that look for the latest event of each key at once. Each takes up to
/// 8 MiB for the keys it has found.
const SCANS_AT_ONCE: usize = 4;
/// The maximum number of snapshots that are made at once.
const SNAPSHOTS_AT_ONCE: usize = 16;
/// How long a subscriber waits for its turn before the hub begins anew with the turns.
const LONGEST_WAIT_FOR_PAGE: Duration = Duration::from_secs(1);
const LONGEST_WAIT_FOR_SCAN: Duration = Duration::from_secs(30);
const LONGEST_WAIT_FOR_SNAPSHOT: Duration = Duration::from_secs(2);

/// The turns of all subscribers of a hub, in the order in which they asked.
#[derive(Debug)]
pub(crate) struct Turns {
    pages: Queue,
    scans: Queue,
    snapshots: Queue,
}

/// A turn. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Turn(#[allow(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl Default for Turns {
    fn default() -> Self {
        Self {
            pages: Queue::new(PAGES_AT_ONCE, LONGEST_WAIT_FOR_PAGE),
            scans: Queue::new(SCANS_AT_ONCE, LONGEST_WAIT_FOR_SCAN),
            snapshots: Queue::new(SNAPSHOTS_AT_ONCE, LONGEST_WAIT_FOR_SNAPSHOT),
        }
    }
}

impl Turns {
    /// Waits for the turn to read one page.
    ///
    /// The task yields before each page, so one poll reads at most one. It has its turn meanwhile:
    /// otherwise any number of tasks with a page to read would be ahead of a task with an event to send.
    pub(crate) async fn page(&self) -> Turn {
        let turn = self.pages.take().await;
        yield_now().await;
        turn
    }

    /// Waits for the turn to look for the latest event of each key. Each page of it needs a turn too.
    pub(crate) async fn scan(&self) -> Turn {
        self.scans.take().await
    }

    /// Waits for the turn to make a snapshot.
    pub(crate) async fn snapshot(&self) -> Turn {
        self.snapshots.take().await
    }
}

/// The turns of one kind.
///
/// A subscriber that is not polled again keeps its turn: the connection of a client that does not read,
/// for example. So does one whose snapshot is never made. After a subscriber has waited for too long, all
/// turns begin anew, and those that are still held no longer count.
#[derive(Debug)]
struct Queue {
    turns: usize,
    longest_wait: Duration,
    current: Mutex<Arc<Semaphore>>,
}

impl Queue {
    fn new(turns: usize, longest_wait: Duration) -> Self {
        Self {
            turns,
            longest_wait,
            current: Mutex::new(Arc::new(Semaphore::new(turns))),
        }
    }

    async fn take(&self) -> Turn {
        loop {
            let current = self.current();
            let taken = pin!(Arc::clone(&current).acquire_owned());
            match timeout(self.longest_wait, taken).await {
                Ok(Ok(permit)) => return Turn(permit),
                // Another subscriber has waited for too long.
                Ok(Err(_)) => {}
                Err(_) => self.begin_anew(&current),
            }
        }
    }

    fn current(&self) -> Arc<Semaphore> {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the turns, unless another subscriber has replaced these already.
    fn begin_anew(&self, used_up: &Arc<Semaphore>) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(&current, used_up) {
            *current = Arc::new(Semaphore::new(self.turns));
            // Wakes the subscribers that wait, in their order.
            used_up.close();
        }
    }
}
