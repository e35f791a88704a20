//! `Cache`: verified tokens, so that each has one grant and its signature is checked once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::access::Access;

/// How many bytes of unused accesses are kept. Those in use are at most as many as the connections.
const MAX_IDLE_BYTES: usize = 8 << 20;

/// How long the unused accesses may exceed [`MAX_IDLE_BYTES`]. They do when the streams of many tokens end at
/// once, and new tokens alone may not cause a removal for long after that.
const MAX_SURPLUS_TIME: Duration = Duration::from_secs(60);

/// What an entry takes beside its access, in bytes: the hash and the pointer, in a table that is half empty.
const ENTRY_BYTES: usize = 2 * (size_of::<TokenHash>() + size_of::<usize>()) + 64;

/// The SHA-256 of a token.
pub(super) type TokenHash = [u8; 32];

/// The accesses of verified tokens, by the hashes of the tokens.
#[derive(Debug)]
pub(super) struct Cache {
    entries: HashMap<TokenHash, Arc<Access>>,
    bytes: usize,
    /// How many bytes cause the unused entries to be removed.
    limit: usize,
    max_idle: usize,
    /// When the unused entries were last removed.
    removed_at: SystemTime,
}

impl Default for Cache {
    fn default() -> Self {
        Self::with_max_idle(MAX_IDLE_BYTES)
    }
}

impl Cache {
    pub(super) fn with_max_idle(max_idle: usize) -> Self {
        Self {
            entries: HashMap::new(),
            bytes: 0,
            limit: max_idle,
            max_idle,
            removed_at: SystemTime::UNIX_EPOCH,
        }
    }

    pub(super) fn get(&self, hash: &TokenHash) -> Option<Arc<Access>> {
        self.entries.get(hash).map(Arc::clone)
    }

    /// Keeps the access, and returns the one of this token: another request may have kept one before.
    pub(super) fn insert(
        &mut self,
        hash: TokenHash,
        access: Access,
        now: SystemTime,
    ) -> Arc<Access> {
        if let Some(kept) = self.get(&hash) {
            return kept;
        }
        let bytes = bytes(&access);
        if self.bytes + bytes > self.limit {
            self.remove_unused(now);
        }
        self.bytes += bytes;
        let access = Arc::new(access);
        self.entries.insert(hash, Arc::clone(&access));
        access
    }

    /// Removes the access, so that its token is verified again.
    pub(super) fn remove(&mut self, hash: &TokenHash) {
        if let Some(access) = self.entries.remove(hash) {
            self.bytes -= bytes(&access);
        }
    }

    /// Removes the unused accesses if there may be too many of them for a minute. Called by each request with
    /// a token, so that it needs no timer. It looks at all accesses at most once a minute.
    pub(super) fn remove_surplus(&mut self, now: SystemTime) {
        // An error: the clock was set back.
        let since = now.duration_since(self.removed_at);
        if self.bytes > self.max_idle && since.map_or(true, |since| since >= MAX_SURPLUS_TIME) {
            self.remove_unused(now);
        }
    }

    /// Removes the accesses that no request and no stream uses. A token among them is verified again.
    fn remove_unused(&mut self, now: SystemTime) {
        self.retain(|access| Arc::strong_count(access) > 1);
        // As much room as `ENTRY_BYTES` counts.
        self.entries.shrink_to(2 * self.entries.len());
        self.limit = self.bytes + self.max_idle;
        self.removed_at = now;
    }

    /// Revokes and removes the accesses that are not accepted any more. Their streams end.
    pub(super) fn revoke_unless(&mut self, is_accepted: impl Fn(&Access) -> bool) {
        self.retain(|access| {
            let is_kept = is_accepted(access);
            if !is_kept {
                access.revoke();
            }
            is_kept
        });
    }

    fn retain(&mut self, is_kept: impl Fn(&Arc<Access>) -> bool) {
        let mut left = 0;
        self.entries.retain(|_, access| {
            let is_kept = is_kept(access);
            if is_kept {
                left += bytes(access);
            }
            is_kept
        });
        self.bytes = left;
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

fn bytes(access: &Access) -> usize {
    ENTRY_BYTES + access.bytes()
}
