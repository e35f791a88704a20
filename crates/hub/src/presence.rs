//! Owns `Presence`: who is there, as a count.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use crate::Pattern;

/// A subscriber has come or gone.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Presence {
    /// To what it is subscribed: a channel, or a pattern.
    pub pattern: Pattern,
    /// Whether it has come.
    pub has_joined: bool,
    /// How many there are then.
    pub count: usize,
}

type PresenceHook = Box<dyn Fn(&Presence) + Send + Sync>;

/// How many subscribers there are to each pattern.
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

    pub(crate) fn join(&self, pattern: &Pattern) {
        self.change(pattern, true);
    }

    pub(crate) fn leave(&self, pattern: &Pattern) {
        self.change(pattern, false);
    }

    fn change(&self, pattern: &Pattern, has_joined: bool) {
        let count = {
            let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            let count = counts.entry(pattern.clone()).or_default();
            *count = if has_joined {
                *count + 1
            } else {
                count.saturating_sub(1)
            };
            let count = *count;
            if count == 0 {
                counts.remove(pattern);
            }
            count
        };
        // The caller's code, and so without the lock.
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
