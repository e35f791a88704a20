//! `Admission`: the publishers that a drain must wait for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::PublishError;
use crate::publish_error::PublishFailure;

/// Admits publishers until the hub is drained, and counts those whose entry is not stored yet.
///
/// A stored entry comes through the tail even if its publisher is not polled again. So from then on, a drain
/// waits for the entry, and not for the publisher.
#[derive(Debug, Clone, Default)]
pub(crate) struct Admission(Arc<AdmissionState>);

#[derive(Debug, Default)]
struct AdmissionState {
    is_closed: AtomicBool,
    /// Closed, and the drain waits for no publisher any more.
    is_drained: AtomicBool,
    admitted: AtomicUsize,
    /// The newest entry that a publisher has stored in the current life.
    stored: AtomicU64,
    /// Notified when the last admitted publisher finishes.
    finished: Notify,
}

/// An admitted publisher. It finishes when this is dropped, or when its entry is stored.
#[derive(Debug)]
pub(crate) struct Admitted {
    state: Arc<AdmissionState>,
    /// Whether it may append after the drain.
    may_be_after_drain: bool,
}

impl Admission {
    /// Admits a publisher.
    pub(crate) fn admit(&self) -> Result<Admitted, PublishError> {
        let admitted = self.count(false);
        // Counted before the check: either `close` counts this publisher, or the check sees `is_closed`.
        if self.is_closed() {
            return Err(PublishFailure::Draining.into());
        }
        Ok(admitted)
    }

    /// Admits the last words of a producer, even after the drain.
    pub(crate) fn admit_last_words(&self) -> Admitted {
        self.count(true)
    }

    fn count(&self, may_be_after_drain: bool) -> Admitted {
        self.0.admitted.fetch_add(1, Ordering::SeqCst);
        Admitted {
            state: Arc::clone(&self.0),
            may_be_after_drain,
        }
    }

    /// Whether new publishers are refused.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.is_closed.load(Ordering::SeqCst)
    }

    /// Whether the drain waits for no publisher any more.
    pub(crate) fn is_drained(&self) -> bool {
        self.0.is_drained.load(Ordering::SeqCst)
    }

    /// Refuses new publishers from now on, and waits until all admitted ones have finished.
    pub(crate) async fn close(&self) {
        self.0.is_closed.store(true, Ordering::SeqCst);
        loop {
            let finished = self.0.finished.notified();
            if self.admitted() == 0 {
                break;
            }
            finished.await;
        }
    }

    /// From now on, an admitted publisher that has not begun to append is refused too.
    pub(crate) fn finish(&self) {
        self.0.is_drained.store(true, Ordering::SeqCst);
    }

    /// The number of admitted publishers that have not finished.
    pub(crate) fn admitted(&self) -> usize {
        self.0.admitted.load(Ordering::SeqCst)
    }

    /// The newest entry that a publisher has stored in the current life.
    pub(crate) fn stored(&self) -> u64 {
        self.0.stored.load(Ordering::SeqCst)
    }

    /// A new life begins after `base`: what was stored before is delivered, or lost.
    pub(crate) fn forget_stored(&self, base: u64) {
        self.0.stored.store(base, Ordering::SeqCst);
    }
}

impl Admitted {
    /// Whether the drain has not waited for this publisher: the subscriptions have ended.
    pub(crate) fn is_after_drain(&self) -> bool {
        !self.may_be_after_drain && self.state.is_drained.load(Ordering::SeqCst)
    }

    /// The entry of this publisher is stored under this number.
    pub(crate) fn finish(self, seq: u64) {
        self.state.stored.fetch_max(seq, Ordering::SeqCst);
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if self.state.admitted.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.state.finished.notify_waiters();
        }
    }
}
