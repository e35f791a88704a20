//! `Cache`: verified tokens and used tickets, so that each has one grant and its signature is checked once.

use std::collections::HashMap;
use std::sync::Arc;

use super::access::Access;

/// How many accesses that nobody uses are kept. The ones in use are as many as the connections at most.
const MAX_IDLE: usize = 10_000;

/// The SHA-256 of a token.
pub(super) type TokenHash = [u8; 32];

/// The accesses of verified tokens, by the hashes of the tokens.
#[derive(Debug)]
pub(super) struct Cache {
    entries: HashMap<TokenHash, Arc<Access>>,
    /// How many entries cause the unused ones to be dropped.
    limit: usize,
    max_idle: usize,
}

impl Default for Cache {
    fn default() -> Self {
        Self::with_max_idle(MAX_IDLE)
    }
}

impl Cache {
    pub(super) fn with_max_idle(max_idle: usize) -> Self {
        Self {
            entries: HashMap::new(),
            limit: max_idle,
            max_idle,
        }
    }

    pub(super) fn get(&self, hash: &TokenHash) -> Option<Arc<Access>> {
        self.entries.get(hash).map(Arc::clone)
    }

    /// Keeps the access, and returns the one of this token: another request may have kept one before.
    pub(super) fn insert(&mut self, hash: TokenHash, access: Access) -> Arc<Access> {
        if self.entries.len() >= self.limit {
            self.drop_unused();
        }
        let kept = self.entries.entry(hash);
        Arc::clone(kept.or_insert_with(|| Arc::new(access)))
    }

    /// Drops the accesses that no request and no stream uses. A token among them is verified again.
    fn drop_unused(&mut self) {
        self.entries
            .retain(|_, access| Arc::strong_count(access) > 1);
        // In proportion to the entries left, so that the search costs each insertion little.
        self.limit = self.max_idle + 2 * self.entries.len();
    }

    /// Revokes and forgets the accesses that are not accepted any more. Their streams end.
    pub(super) fn revoke_unless(&mut self, is_accepted: impl Fn(&Access) -> bool) {
        self.entries.retain(|_, access| {
            let is_kept = is_accepted(access);
            if !is_kept {
                access.revoke();
            }
            is_kept
        });
    }
}
