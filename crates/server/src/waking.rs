//! `Waking`: state that the body of a session shares with other tasks, and the waker of the body's task.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

/// State that the body of a session shares with other tasks. A change of it wakes the body's task.
///
/// It is also the waker of the session's work and timer. It remembers that they were woken until they are
/// polled. The waker of the body's task cannot do that: a connection that cannot write may be woken and leave
/// the body unpolled.
#[derive(Default)]
pub(crate) struct Waking<T>(Mutex<Guarded<T>>);

/// The state behind the lock.
#[derive(Default)]
pub(crate) struct Guarded<T> {
    state: T,
    /// The waker of the task that polls the body.
    body: Option<Waker>,
    /// The body is being polled, and reads this state before it returns.
    body_is_awake: bool,
    /// The work or the timer was woken since it was last polled.
    is_woken: bool,
}

impl<T> Waking<T> {
    pub(crate) fn new(state: T) -> Self {
        Self(Mutex::new(Guarded {
            state,
            body: None,
            body_is_awake: false,
            is_woken: false,
        }))
    }

    // Tasks are woken, and values of the caller are dropped, only after the lock is released: both
    // may call methods of this session.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Guarded<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, and wakes the body's task, unless that task reads the state anyway.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut Guarded<T>) -> R) -> R {
        let (result, body) = {
            let mut guarded = self.lock();
            let result = change(&mut guarded);
            let body = guarded.body.as_ref().filter(|_| !guarded.body_is_awake);
            (result, body.cloned())
        };
        if let Some(body) = body {
            body.wake();
        }
        result
    }

    /// Wakes the work and the timer.
    pub(crate) fn wake_work(&self) {
        self.change(Guarded::set_woken);
    }
}

/// The operations of the body.
impl<T> Waking<T> {
    /// Gives the connection a turn to write. Returns whether the body has work to do after it.
    pub(crate) fn yield_turn(&self, body: &Waker, has_work: impl FnOnce(&T) -> bool) -> bool {
        let stale;
        let has_work = {
            let mut guarded = self.lock();
            stale = guarded.set_body(body);
            guarded.is_woken || has_work(&guarded.state)
        };
        drop(stale);
        has_work
    }

    /// Starts a turn of the work. Returns whether the work or the timer was woken since the previous turn.
    pub(crate) fn start_turn<R>(&self, body: &Waker, start: impl FnOnce(&mut T) -> R) -> (bool, R) {
        let stale;
        let started = {
            let mut guarded = self.lock();
            stale = guarded.set_body(body);
            guarded.body_is_awake = true;
            let is_woken = std::mem::take(&mut guarded.is_woken);
            (is_woken, start(&mut guarded.state))
        };
        drop(stale);
        started
    }

    /// Ends the turn of the work. Returns whether the work or the timer was woken during it, so that the body
    /// must be polled again.
    pub(crate) fn end_turn<R>(&self, end: impl FnOnce(&mut T) -> R) -> (bool, R) {
        let mut guarded = self.lock();
        guarded.body_is_awake = false;
        (guarded.is_woken, end(&mut guarded.state))
    }
}

impl<T: Send> Wake for Waking<T> {
    fn wake(self: Arc<Self>) {
        self.wake_work();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_work();
    }
}

impl<T> Guarded<T> {
    pub(crate) fn set_woken(&mut self) {
        self.is_woken = true;
    }

    pub(crate) fn take_woken(&mut self) -> bool {
        std::mem::take(&mut self.is_woken)
    }

    /// The body is dropped: its task is not woken any more. Drop the waker after the lock is released.
    #[must_use]
    pub(crate) fn take_body(&mut self) -> Option<Waker> {
        self.body.take()
    }

    /// Remembers the waker of the body's task, and returns the previous one.
    #[must_use]
    fn set_body(&mut self, body: &Waker) -> Option<Waker> {
        match &self.body {
            Some(known) if known.will_wake(body) => None,
            _ => self.body.replace(body.clone()),
        }
    }
}

impl<T> Deref for Guarded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.state
    }
}

impl<T> DerefMut for Guarded<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.state
    }
}
