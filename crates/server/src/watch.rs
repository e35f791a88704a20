//! Owns `Watchers`: who is told of a session's heartbeats and of its end.

use std::mem;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use slab::Slab;

use crate::shared::Shared;

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

    fn set(&self, key: Option<usize>, waker: &Waker) -> usize {
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

    fn forget(&self, key: usize) {
        let waker = self.lock().as_mut().and_then(|known| known.try_remove(key));
        drop(waker);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<Slab<Waker>>>> {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One who watches a session, until it is dropped.
#[derive(Debug)]
pub(crate) struct Watcher {
    pub(crate) shared: Arc<Shared>,
    /// Its place among those who are woken.
    key: Option<usize>,
    /// The heartbeats that it knows of.
    beats: u64,
}

impl Watcher {
    /// Watches from now on.
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            beats: shared.watchers.beats.load(Ordering::Acquire),
            shared,
            key: None,
        }
    }

    /// This waker is told from now on; called before anything of the session is looked at.
    pub(crate) fn watch(&mut self, waker: &Waker) {
        // The handler is polled after each heartbeat anyway, and whatever it polls itself with it.
        // So most sessions keep no wakers, of which this one would also hold the session for ever.
        let of_handler = ptr::eq(waker.data(), Arc::as_ptr(&self.shared).cast());
        if !of_handler {
            self.key = Some(self.shared.watchers.set(self.key, waker));
        }
    }

    /// Whether the heart has beaten since the last look.
    pub(crate) fn take_beat(&mut self) -> bool {
        let beats = self.shared.watchers.beats.load(Ordering::Acquire);
        mem::replace(&mut self.beats, beats) != beats
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.shared.watchers.forget(key);
        }
    }
}
