//! `Presence`: how many subscriptions are open, and the hook that reports each change.

use std::collections::HashMap;
use std::fmt;
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

    fn join(&self, pattern: &Pattern) {
        let count = {
            let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            let count = counts.entry(pattern.clone()).or_default();
            *count += 1;
            *count
        };
        self.report(pattern, true, count);
    }

    fn leave(&self, pattern: &Pattern) {
        let count = {
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
        };
        self.report(pattern, false, count);
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
}

impl Present {
    pub(crate) fn new(hub: Hub, patterns: Arc<[Pattern]>) -> Self {
        for pattern in &*patterns {
            hub.shared().presences.join(pattern);
        }
        meters::join();
        Self { hub, patterns }
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        for pattern in &*self.patterns {
            self.hub.shared().presences.leave(pattern);
        }
        meters::leave();
    }
}
