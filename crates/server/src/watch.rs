//! `Watchers`: the tasks that a session wakes at its heartbeats and at its end.

use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use slab::Slab;

/// The tasks that a session wakes at its heartbeats and at its end.
#[derive(Debug, Default)]
pub(crate) struct Watchers {
    /// The number of heartbeats so far.
    heartbeats: AtomicU64,
    /// The wakers of the tasks that the body does not poll itself. Allocated with the first.
    wakers: Mutex<Option<Box<Slab<Waker>>>>,
}

impl Watchers {
    /// A heartbeat was sent or skipped.
    pub(crate) fn handle_heartbeat(&self) {
        self.heartbeats.fetch_add(1, Ordering::Release);
        self.wake();
    }

    /// Wakes all tasks, which then read the state of the session again.
    pub(crate) fn wake(&self) {
        let wakers: Vec<Waker> = match &*self.lock() {
            None => return,
            Some(known) => known.iter().map(|(_, waker)| waker.clone()).collect(),
        };
        // Only after the lock is released: a waker may call methods of this session.
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Registers a waker, in place of the one with this key. Returns the key of the waker.
    pub(crate) fn register(&self, key: Option<usize>, waker: &Waker) -> usize {
        let mut wakers = self.lock();
        let known = wakers.get_or_insert_default();
        let Some(key) = key else {
            return known.insert(waker.clone());
        };
        let current = &mut known[key];
        let stale = (!current.will_wake(waker)).then(|| mem::replace(current, waker.clone()));
        drop(wakers);
        drop(stale);
        key
    }

    /// Removes the waker with this key.
    pub(crate) fn remove(&self, key: usize) {
        // Dropped after the lock is released: a waker may call methods of this session.
        let waker = self.lock().as_mut().map(|known| known.remove(key));
        drop(waker);
    }

    /// The number of heartbeats so far.
    pub(crate) fn heartbeats(&self) -> u64 {
        self.heartbeats.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<Slab<Waker>>>> {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
