//! `Admission`: the publishers that a drain must wait for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::PublishError;
use crate::publish_error::PublishFailure;

/// Admits publishers until the hub is drained, and counts those that are not finished.
#[derive(Debug, Clone, Default)]
pub(crate) struct Admission(Arc<AdmissionState>);

#[derive(Debug, Default)]
struct AdmissionState {
    is_closed: AtomicBool,
    /// Closed, and all admitted publishers have finished.
    is_drained: AtomicBool,
    admitted: AtomicUsize,
    /// Notified when the last admitted publisher finishes.
    finished: Notify,
}

/// An admitted publisher. It finishes when this is dropped.
#[derive(Debug)]
pub(crate) struct Admitted(Arc<AdmissionState>);

impl Admission {
    /// Admits a publisher.
    pub(crate) fn admit(&self) -> Result<Admitted, PublishError> {
        let admitted = self.admit_last_words();
        // Counted before the check: either `close` counts this publisher, or the check sees `is_closed`.
        if self.is_closed() {
            return Err(PublishFailure::Draining.into());
        }
        Ok(admitted)
    }

    /// Admits the last words of a producer, even after [`close`](Self::close).
    pub(crate) fn admit_last_words(&self) -> Admitted {
        self.0.admitted.fetch_add(1, Ordering::SeqCst);
        Admitted(Arc::clone(&self.0))
    }

    /// Whether new publishers are refused.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.is_closed.load(Ordering::SeqCst)
    }

    /// Whether new publishers are refused, and all admitted ones have finished.
    pub(crate) fn is_drained(&self) -> bool {
        self.0.is_drained.load(Ordering::SeqCst)
    }

    /// Refuses new publishers from now on, and waits until all admitted ones have finished.
    pub(crate) async fn close(&self) {
        self.0.is_closed.store(true, Ordering::SeqCst);
        loop {
            let finished = self.0.finished.notified();
            if self.0.admitted.load(Ordering::SeqCst) == 0 {
                break;
            }
            finished.await;
        }
        self.0.is_drained.store(true, Ordering::SeqCst);
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if self.0.admitted.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.finished.notify_waiters();
        }
    }
}
