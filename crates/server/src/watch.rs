//! Owns `Watchers`: who is told of a session's heartbeats and of its end.

use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use slab::Slab;

/// What a session tells those who watch it.
#[derive(Debug, Default)]
pub(crate) struct Watchers {
    /// Heartbeats so far.
    beats: AtomicU64,
    /// Of those whom the body does not poll by itself. Made with the first.
    wakers: Mutex<Option<Box<Slab<Waker>>>>,
}

impl Watchers {
    /// A heartbeat was sent, or left out.
    pub(crate) fn beat(&self) {
        self.beats.fetch_add(1, Ordering::Release);
        self.wake();
    }

    /// Wakes all, to look again.
    pub(crate) fn wake(&self) {
        let wakers: Vec<Waker> = match &*self.lock() {
            None => return,
            Some(known) => known.iter().map(|(_, waker)| waker.clone()).collect(),
        };
        // Whom this wakes may come back here: only after the lock is released.
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Wakes this from now on, in place of what was under the key; returns its key.
    pub(crate) fn set(&self, key: Option<usize>, waker: &Waker) -> usize {
        let mut wakers = self.lock();
        let known = wakers.get_or_insert_default();
        let Some(place) = key.and_then(|key| known.get_mut(key)) else {
            return known.insert(waker.clone());
        };
        let stale = (!place.will_wake(waker)).then(|| mem::replace(place, waker.clone()));
        drop(wakers);
        drop(stale);
        key.unwrap_or_default()
    }

    pub(crate) fn forget(&self, key: usize) {
        let waker = self.lock().as_mut().and_then(|known| known.try_remove(key));
        drop(waker);
    }

    /// Heartbeats so far.
    pub(crate) fn beats(&self) -> u64 {
        self.beats.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<Slab<Waker>>>> {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
