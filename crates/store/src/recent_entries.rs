//! `RecentEntries`: the newest entries of a store, in memory for its tails.

use std::collections::VecDeque;

use tidings_hub::Entry;

/// The memory for the newest entries, in bytes as [`Entry::cost`] counts them.
const MAX_BYTES: u64 = 8 << 20;

/// The most entries that a tail returns at once, and the most bytes of bodies.
pub(crate) const BATCH_ENTRIES: usize = 1_024;
pub(crate) const BATCH_BYTES: usize = 1 << 20;

/// The newest entries, without holes.
#[derive(Debug)]
pub(crate) struct RecentEntries {
    /// The number of the entry before the first one.
    start: u64,
    entries: VecDeque<Entry>,
    bytes: u64,
}

impl RecentEntries {
    /// No entries; the next one has the number after `last`.
    pub(crate) fn new(last: u64) -> Self {
        Self {
            start: last,
            entries: VecDeque::new(),
            bytes: 0,
        }
    }

    /// Adds the next entry, and drops the oldest ones beyond the limit.
    pub(crate) fn push(&mut self, entry: Entry) {
        self.bytes += entry.cost();
        self.entries.push_back(entry);
        while self.bytes > MAX_BYTES
            && self.entries.len() > 1
            && let Some(oldest) = self.entries.pop_front()
        {
            self.bytes -= oldest.cost();
            self.start = oldest.seq;
        }
    }

    /// The next entries after this number, at most one batch; `None` if they are only on the disk.
    pub(crate) fn after(&self, seq: u64) -> Option<Vec<Entry>> {
        let at = usize::try_from(seq.checked_sub(self.start)?).ok()?;
        let mut bytes = 0;
        let next = self.entries.iter().skip(at).take(BATCH_ENTRIES);
        let batch = next.take_while(|entry| {
            let is_in = bytes < BATCH_BYTES;
            bytes += entry.body.len();
            is_in
        });
        Some(batch.cloned().collect())
    }
}
