//! `Presence`: how many subscriptions are open, and the hook that reports each change.

use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use crate::{Hub, Pattern, meters};

/// A subscription has opened or closed, as
/// [`HubBuilder::on_presence`](crate::HubBuilder::on_presence) reports it.
///
/// A subscription to several patterns is reported once for each of them. It opens when its stream
/// begins, not when [`subscribe`](Hub::subscribe) is called, and closes when the stream ends or is
/// dropped.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Presence {
    /// The pattern that was subscribed to. A channel counts as the pattern of its name.
    pub pattern: Pattern,
    /// `true` if the subscription has opened, `false` if it has closed.
    pub has_joined: bool,
    /// How many subscriptions to exactly this pattern are open on this hub after the change.
    /// Subscriptions on other nodes do not count, nor do subscriptions to other patterns that
    /// select the same channels.
    pub count: usize,
}

type PresenceHook = Box<dyn Fn(&Presence) + Send + Sync>;

/// The number of open subscriptions to each pattern.
#[derive(Default)]
pub(crate) struct Presences {
    counts: Mutex<HashMap<Pattern, usize>>,
    hook: Option<PresenceHook>,
}

impl Presences {
    pub(crate) fn new(hook: Option<PresenceHook>) -> Self {
        Self {
            counts: Mutex::default(),
            hook,
        }
    }

    pub(crate) fn count(&self, pattern: &Pattern) -> usize {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.get(pattern).copied().unwrap_or_default()
    }

    /// Counts a subscription, and returns the number after it.
    fn join(&self, pattern: &Pattern) -> usize {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(pattern.clone()).or_default();
        *count += 1;
        *count
    }

    /// Counts a subscription no longer, and returns the number after it.
    fn leave(&self, pattern: &Pattern) -> usize {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(count) = counts.get_mut(pattern) else {
            unreachable!("only a `Present` leaves, once, and it has joined");
        };
        *count -= 1;
        let count = *count;
        if count == 0 {
            counts.remove(pattern);
        }
        count
    }

    /// Calls the hook, without the lock because it is the caller's code.
    fn report(&self, pattern: &Pattern, has_joined: bool, count: usize) {
        if let Some(hook) = &self.hook {
            hook(&Presence {
                pattern: pattern.clone(),
                has_joined,
                count,
            });
        }
    }
}

impl fmt::Debug for Presences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presences").finish_non_exhaustive()
    }
}

/// An open subscription, counted until this is dropped.
pub(crate) struct Present {
    hub: Hub,
    patterns: Arc<[Pattern]>,
    /// How many of the patterns count this subscription: all, unless the hook has panicked.
    joined: usize,
}

impl Present {
    pub(crate) fn new(hub: Hub, patterns: Arc<[Pattern]>) -> Self {
        meters::join();
        let mut this = Self {
            hub,
            patterns,
            joined: 0,
        };
        // If the hook panics, the drop undoes the part that is done.
        while let Some(pattern) = this.patterns.get(this.joined) {
            let presences = &this.hub.shared().presences;
            let count = presences.join(pattern);
            this.joined += 1;
            presences.report(&this.patterns[this.joined - 1], true, count);
        }
        this
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        meters::leave();
        let presences = &self.hub.shared().presences;
        let mut panic = None;
        for pattern in &self.patterns[..self.joined] {
            let count = presences.leave(pattern);
            let report = AssertUnwindSafe(|| presences.report(pattern, false, count));
            // A panic of the hook must not keep the other patterns counted.
            panic = catch_unwind(report).err().or(panic);
        }
        // A second panic while the first one unwinds would abort the process.
        if let Some(panic) = panic.filter(|_| !std::thread::panicking()) {
            resume_unwind(panic);
        }
    }
}
