//! `ReadCache`: what questions have read from the disk lately, in memory for the next ones.

use std::collections::hash_map::Entry as Slot;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tidings_hub::{ChannelName, Entry};

use crate::channel_row::ChannelId;
use crate::index_row::IndexRow;

/// The memory for entries, and for names of channels, in bytes.
const ENTRY_BYTES: usize = 48 << 20;
const NAME_BYTES: usize = 16 << 20;

/// What an entry and a name take beside their bytes, about: the value, its part of the map, and allocations.
const ENTRY_OVERHEAD: usize = 288;
const NAME_OVERHEAD: usize = 112;

/// How many values that were used are passed over at most, before one of them is dropped all the same. The
/// readers wait for each other meanwhile.
const MAX_SPARED: usize = 64;

/// Entries that were read by the index, and the names of channels: neither changes while the store is open.
///
/// Each commit empties the caches of pages of all readers, so they serve one question. The entries of a
/// channel are in as many pages, so a page is a poor unit too. This cache is shared by the readers, survives
/// commits, and has only what was read. Of a read of all channels it keeps only the names.
#[derive(Debug)]
pub(crate) struct ReadCache {
    entries: Mutex<Recent<u64, CachedEntry>>,
    names: Mutex<Recent<ChannelId, ChannelName>>,
}

/// An entry with its row of the index.
#[derive(Debug, Clone)]
struct CachedEntry {
    row: IndexRow,
    entry: Entry,
}

impl Default for ReadCache {
    fn default() -> Self {
        Self {
            entries: Mutex::new(Recent::new(ENTRY_BYTES)),
            names: Mutex::new(Recent::new(NAME_BYTES)),
        }
    }
}

impl ReadCache {
    /// The entry of this row of the index.
    pub(crate) fn entry(&self, row: IndexRow) -> Option<Entry> {
        let mut entries = lock(&self.entries);
        let found = entries.get(row.seq)?;
        (found.row == row).then(|| found.entry.clone())
    }

    pub(crate) fn keep_entry(&self, row: IndexRow, entry: &Entry) {
        let size = entry.body.len() + entry.channel.as_str().len() + ENTRY_OVERHEAD;
        let entry = entry.clone();
        lock(&self.entries).insert(row.seq, CachedEntry { row, entry }, size);
    }

    /// The name of a channel.
    pub(crate) fn name(&self, channel: ChannelId) -> Option<ChannelName> {
        lock(&self.names).get(channel).cloned()
    }

    pub(crate) fn keep_name(&self, channel: ChannelId, name: &ChannelName) {
        let size = name.as_str().len() + NAME_OVERHEAD;
        lock(&self.names).insert(channel, name.clone(), size);
    }
}

fn lock<T>(cache: &Mutex<T>) -> MutexGuard<'_, T> {
    cache.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Values up to a limit of memory. The oldest ones are dropped first, but a value that was used counts as new
/// once more.
struct Recent<K, V> {
    limit: usize,
    size: usize,
    values: HashMap<K, Kept<V>>,
    oldest_first: VecDeque<K>,
}

struct Kept<V> {
    value: V,
    size: usize,
    is_used: bool,
}

impl<K: Copy + Eq + Hash, V> Recent<K, V> {
    fn new(limit: usize) -> Self {
        Self {
            limit,
            size: 0,
            values: HashMap::new(),
            oldest_first: VecDeque::new(),
        }
    }

    fn get(&mut self, key: K) -> Option<&V> {
        let kept = self.values.get_mut(&key)?;
        kept.is_used = true;
        Some(&kept.value)
    }

    /// Keeps a value, unless it is so large that it would displace most others.
    fn insert(&mut self, key: K, value: V, size: usize) {
        if size > self.limit / 8 {
            return;
        }
        if let Slot::Vacant(slot) = self.values.entry(key) {
            slot.insert(Kept {
                value,
                size,
                is_used: false,
            });
            self.oldest_first.push_back(key);
            self.size += size;
            self.shrink();
        }
    }

    fn shrink(&mut self) {
        let mut spared = 0;
        while self.size > self.limit
            && let Some(key) = self.oldest_first.pop_front()
            && let Slot::Occupied(mut oldest) = self.values.entry(key)
        {
            if std::mem::take(&mut oldest.get_mut().is_used) && spared < MAX_SPARED {
                spared += 1;
                self.oldest_first.push_back(key);
            } else {
                self.size -= oldest.remove().size;
            }
        }
    }
}

impl<K, V> fmt::Debug for Recent<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recent")
            .field("values", &self.values.len())
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_value_that_was_not_used_is_dropped() {
        let mut recent = Recent::new(80);
        for key in 0..8 {
            recent.insert(key, key * 10, 10);
        }
        assert_eq!(recent.get(0), Some(&0));
        recent.insert(8, 80, 10);
        recent.insert(9, 90, 10);
        let kept = |recent: &Recent<i32, i32>| {
            let mut keys: Vec<_> = recent.values.keys().copied().collect();
            keys.sort_unstable();
            keys
        };
        assert_eq!(kept(&recent), [0, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(recent.size, 80);
        // It was used once, and not again.
        for key in 10..16 {
            recent.insert(key, 0, 10);
        }
        assert_eq!(kept(&recent), [0, 9, 10, 11, 12, 13, 14, 15]);
        recent.insert(16, 0, 10);
        assert_eq!(kept(&recent), [9, 10, 11, 12, 13, 14, 15, 16]);
        assert_eq!(recent.oldest_first.len(), 8);
    }

    #[test]
    fn if_all_values_are_used_one_is_dropped_after_a_limited_search() {
        let mut recent = Recent::new(1_000);
        for key in 0..1_000 {
            recent.insert(key, (), 1);
            recent.get(key);
        }
        recent.insert(1_000, (), 1);
        assert_eq!(recent.size, 1_000);
        let last = 64;
        assert_eq!(recent.get(last), None);
        assert_eq!(recent.get(last + 1), Some(&()));
    }

    #[test]
    fn a_value_that_is_too_large_or_known_changes_nothing() {
        let mut recent = Recent::new(80);
        recent.insert(1, "a", 10);
        recent.insert(2, "b", 11);
        recent.insert(1, "c", 10);
        assert_eq!(recent.get(1), Some(&"a"));
        assert_eq!(recent.get(2), None);
        assert_eq!((recent.size, recent.oldest_first.len()), (10, 1));
    }
}
