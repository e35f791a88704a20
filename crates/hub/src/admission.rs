//! Owns `Admission`: who may still publish, and who is not done when nobody may any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::Error;

/// The door of a hub, which a drain shuts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Admission(Arc<Door>);

#[derive(Debug, Default)]
struct Door {
    is_shut: AtomicBool,
    /// And nobody who was let in is left.
    is_empty: AtomicBool,
    admitted: AtomicUsize,
    /// The last of them has left.
    left: Notify,
}

/// Somebody who was let in, until it is dropped.
#[derive(Debug)]
pub(crate) struct Admitted(Arc<Door>);

impl Admission {
    /// Lets a publisher in.
    pub(crate) fn admit(&self) -> Result<Admitted, Error> {
        let admitted = self.admit_last_words();
        // Counted first: whoever shuts the door then sees us, or we see it shut.
        if self.is_shut() {
            return Err(Error::Draining);
        }
        Ok(admitted)
    }

    /// Lets last words in, whoever else is let in.
    pub(crate) fn admit_last_words(&self) -> Admitted {
        self.0.admitted.fetch_add(1, Ordering::SeqCst);
        Admitted(Arc::clone(&self.0))
    }

    /// Whether nobody is let in any more.
    pub(crate) fn is_shut(&self) -> bool {
        self.0.is_shut.load(Ordering::SeqCst)
    }

    /// Whether nobody is let in any more, and nobody is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty.load(Ordering::SeqCst)
    }

    /// Lets nobody in any more, and waits until whoever was let in is done.
    pub(crate) async fn shut(&self) {
        self.0.is_shut.store(true, Ordering::SeqCst);
        loop {
            let left = self.0.left.notified();
            if self.0.admitted.load(Ordering::SeqCst) == 0 {
                break;
            }
            left.await;
        }
        self.0.is_empty.store(true, Ordering::SeqCst);
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if self.0.admitted.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.left.notify_waiters();
        }
    }
}
