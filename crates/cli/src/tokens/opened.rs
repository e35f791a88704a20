//! `Opened`: the accesses of used tickets, as long as their streams last.

use std::sync::{Arc, Weak};

use super::access::Access;

/// How many accesses without a stream are kept before they are removed.
const MAX_ENDED: usize = 1_000;

/// The accesses of used tickets. It keeps none alive: a ticket opens one stream, and never another.
#[derive(Debug, Default)]
pub(super) struct Opened {
    accesses: Vec<Weak<Access>>,
    /// How many were in use when the others were last removed.
    used: usize,
}

impl Opened {
    pub(super) fn insert(&mut self, access: Access) -> Arc<Access> {
        if self.accesses.len() >= 2 * self.used + MAX_ENDED {
            self.accesses.retain(|access| access.strong_count() > 0);
            self.used = self.accesses.len();
        }
        let access = Arc::new(access);
        self.accesses.push(Arc::downgrade(&access));
        access
    }

    /// Revokes and removes the accesses that are not accepted any more. Their streams end.
    pub(super) fn revoke_unless(&mut self, is_accepted: impl Fn(&Access) -> bool) {
        self.accesses.retain(|access| {
            let Some(access) = access.upgrade() else {
                return false;
            };
            let is_kept = is_accepted(&access);
            if !is_kept {
                access.revoke();
            }
            is_kept
        });
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.accesses.len()
    }
}
