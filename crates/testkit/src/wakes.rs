//! `Wakes`: a waker that counts how often it was woken.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

/// Counts how often its wakers were woken.
#[derive(Debug, Default)]
pub struct Wakes(Arc<Count>);

#[derive(Debug, Default)]
struct Count(AtomicUsize);

impl Wakes {
    /// How often its wakers were woken so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.0.load(Ordering::SeqCst)
    }

    /// A waker that is counted here.
    #[must_use]
    pub fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.0))
    }

    /// Whether a waker that is counted here still exists.
    #[must_use]
    pub fn has_wakers(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}
