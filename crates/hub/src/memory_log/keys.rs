//! Owns `Keys`: which appends are repeats.

use std::collections::hash_map::Entry as Slot;
use std::collections::{HashMap, VecDeque};
use std::error::Error as StdError;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

use siphasher::sip128::{Hasher128, SipHasher13};

use super::{MIN_SHRINK, nanos};
use crate::{ChannelName, KEY_LIFETIME, LogError};

/// How many keys are remembered.
const MAX_KEYS: usize = 1_000_000;

/// How many old keys an append drops: more than it adds, and few enough not to be felt.
const DROPS: usize = 64;

/// A channel's key: a hash that nobody can aim at, so that the length of keys costs nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct KeyHash(u64, u64);

pub(super) struct Keys {
    secret: (u64, u64),
    places: HashMap<KeyHash, KeyedEntry>,
    /// When each expires, in the order in which they came.
    queue: VecDeque<(u64, KeyHash)>,
}

struct KeyedEntry {
    seq: u64,
    expires: u64,
}

impl Keys {
    pub(super) fn new() -> Self {
        let random = RandomState::new();
        Self {
            secret: (random.hash_one(0), random.hash_one(1)),
            places: HashMap::new(),
            queue: VecDeque::new(),
        }
    }

    pub(super) fn hash(&self, channel: &ChannelName, key: &str) -> KeyHash {
        let mut hasher = SipHasher13::new_with_keys(self.secret.0, self.secret.1);
        hasher.write(channel.as_str().as_bytes());
        // No name has a zero in it, so that it is clear where the key begins.
        hasher.write(&[0]);
        hasher.write(key.as_bytes());
        let hash = hasher.finish128();
        KeyHash(hash.h1, hash.h2)
    }

    /// Where this key was appended, unless that is too long ago.
    pub(super) fn get(&self, key: KeyHash, now: u64) -> Option<u64> {
        let place = self.places.get(&key)?;
        (place.expires > now).then_some(place.seq)
    }

    /// Remembers a key that [`get`](Self::get) does not know.
    pub(super) fn insert(&mut self, key: KeyHash, seq: u64, now: u64) -> Result<(), LogError> {
        if self.queue.len() >= MAX_KEYS {
            return Err(LogError::Refused(Arc::new(TooManyKeys(()))));
        }
        let expires = now.saturating_add(nanos(KEY_LIFETIME));
        self.queue.push_back((expires, key));
        self.places.insert(key, KeyedEntry { seq, expires });
        Ok(())
    }

    /// Drops some of those that are too old.
    pub(super) fn expire(&mut self, now: u64) {
        for _ in 0..DROPS {
            let is_old = self.queue.front().is_some_and(|oldest| oldest.0 <= now);
            let Some((_, key)) = is_old.then(|| self.queue.pop_front()).flatten() else {
                break;
            };
            // The key may have come again meanwhile.
            if let Slot::Occupied(slot) = self.places.entry(key)
                && slot.get().expires <= now
            {
                slot.remove();
            }
        }
        self.shrink();
    }

    /// Gives memory back after a burst; by halves, so that it is seldom.
    fn shrink(&mut self) {
        let capacity = self.places.capacity();
        if capacity > MIN_SHRINK && self.places.len() < capacity / 4 {
            self.places.shrink_to(capacity / 2);
            self.queue.shrink_to(capacity / 2);
        }
    }

    /// Forgets those of places behind `last`.
    pub(super) fn rewind(&mut self, last: u64) {
        self.places.retain(|_, place| place.seq <= last);
        self.queue.retain(|(_, key)| self.places.contains_key(key));
    }
}

/// A log in memory remembers as many keys as it can, and takes no new one until some are two minutes
/// old. The cause of a [`LogError::Refused`].
#[derive(Debug)]
pub struct TooManyKeys(());

impl fmt::Display for TooManyKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{MAX_KEYS} keys are remembered, and none of them is old")
    }
}

impl StdError for TooManyKeys {}
