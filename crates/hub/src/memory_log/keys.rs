//! `Keys`: the keys of recent appends, to recognise repeats.

use std::collections::VecDeque;
use std::collections::hash_map::Entry as Slot;
use std::error::Error as StdError;
use std::fmt;
use std::hash::Hasher;

use super::nanos;
use super::secret::{Secret, SecretHash, SecretMap};
use crate::{ChannelName, KEY_LIFETIME, LogError};

/// The maximum number of keys.
const MAX_KEYS: usize = 1_000_000;

/// How many expired keys an append removes at most: more than it adds, but few enough to stay fast.
const DROPS: usize = 64;

/// The capacity up to which the keys do not shrink.
const MIN_SHRINK: usize = 1_024;

/// The keys of recent appends, as hashes of a channel and a key.
pub(super) struct Keys {
    secret: Secret,
    entries: SecretMap<KeyedEntry>,
    /// When each key expires, in the order of the appends.
    queue: VecDeque<(u64, SecretHash)>,
}

struct KeyedEntry {
    seq: u64,
    expires: u64,
}

impl Keys {
    pub(super) fn new() -> Self {
        Self {
            secret: Secret::new(),
            entries: SecretMap::default(),
            queue: VecDeque::new(),
        }
    }

    pub(super) fn hash(&self, channel: &ChannelName, key: &str) -> SecretHash {
        let mut hasher = self.secret.hasher();
        hasher.write(channel.as_str().as_bytes());
        // No name contains a zero byte, so the zero marks where the key begins.
        hasher.write(&[0]);
        hasher.write(key.as_bytes());
        SecretHash::of(&hasher)
    }

    /// The number of the append with this key, unless the key has expired.
    pub(super) fn get(&self, key: SecretHash, now: u64) -> Option<u64> {
        let entry = self.entries.get(&key)?;
        (entry.expires > now).then_some(entry.seq)
    }

    /// Stores a key for which [`get`](Self::get) has returned `None`.
    pub(super) fn insert(&mut self, key: SecretHash, seq: u64, now: u64) -> Result<(), LogError> {
        if self.queue.len() >= MAX_KEYS {
            return Err(LogError::refused(TooManyKeys(())));
        }
        let expires = now.saturating_add(nanos(KEY_LIFETIME));
        self.queue.push_back((expires, key));
        self.entries.insert(key, KeyedEntry { seq, expires });
        Ok(())
    }

    /// Removes some of the expired keys.
    pub(super) fn expire(&mut self, now: u64) {
        for _ in 0..DROPS {
            let is_old = self.queue.front().is_some_and(|oldest| oldest.0 <= now);
            let Some((_, key)) = is_old.then(|| self.queue.pop_front()).flatten() else {
                break;
            };
            // The key may have been appended again since.
            if let Slot::Occupied(slot) = self.entries.entry(key)
                && slot.get().expires <= now
            {
                slot.remove();
            }
        }
        self.shrink();
    }

    /// Frees memory after a burst, by half at a time so that it happens rarely.
    fn shrink(&mut self) {
        let capacity = self.entries.capacity();
        if capacity > MIN_SHRINK && self.entries.len() < capacity / 4 {
            self.entries.shrink_to(capacity / 2);
            self.queue.shrink_to(capacity / 2);
        }
    }

    /// Removes the keys of entries after `last`.
    pub(super) fn rewind(&mut self, last: u64) {
        self.entries.retain(|_, entry| entry.seq <= last);
        self.queue.retain(|(_, key)| self.entries.contains_key(key));
    }
}

/// The error of a [`MemoryLog`](crate::MemoryLog) that remembers 1,000,000 keys and accepts no new
/// one until some of them are 2 minutes old. It is the source of a [`LogError`] of the kind
/// [`Refused`](crate::LogErrorKind::Refused).
#[derive(Debug)]
pub struct TooManyKeys(());

impl fmt::Display for TooManyKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the log remembers {MAX_KEYS} keys of the last {} s and accepts no more",
            KEY_LIFETIME.as_secs()
        )
    }
}

impl StdError for TooManyKeys {}
