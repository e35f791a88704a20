//! `Index`: the channels of a log in memory, and which entries each has.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU64;
use std::ops::Bound;

use slab::Slab;

use super::capacity;
use super::record::Record;
use super::secret::{Secret, SecretMap};
use crate::engine::Removed;
use crate::{ChannelName, EntryKind};

/// The number of a channel in the index, until it is forgotten.
pub(super) type ChannelId = u32;

/// Maps with at most this capacity do not shrink.
const MIN_SHRINK: usize = 1_024;

/// The channels of a log in memory. It knows each channel that holds an entry, and remembers as many others
/// as the retention says.
pub(super) struct Index {
    /// How many channels without entries are remembered: so many with an end, and as many without.
    limit: usize,
    records: Slab<Record>,
    secret: Secret,
    /// By the name. A map of the names themselves would read each name that it finds.
    ids: SecretMap<ChannelId>,
    /// The same in the order of names, for patterns and pages of channels.
    in_order: BTreeMap<ChannelName, ChannelId>,
    /// How many channels hold an entry.
    holding: usize,
    /// All ends, in order. Nothing follows the end of a channel, so the channels without entries are first.
    ends: VecDeque<(u64, ChannelId)>,
    /// How many of `ends` were removed.
    tombstones: usize,
    /// The channels without entries and without an end, with their newest event, in the order of these.
    /// Some items are stale.
    gone: VecDeque<(u64, ChannelId)>,
    /// How many items of `gone` are not stale.
    gone_count: usize,
    /// The removed events of all channels.
    removed: Removed,
    forgotten_through: u64,
    ends_since: u64,
}

impl Index {
    pub(super) fn new(remembered_channels: u64) -> Self {
        Self {
            limit: usize::try_from(remembered_channels).unwrap_or(usize::MAX),
            records: Slab::new(),
            secret: Secret::new(),
            ids: SecretMap::default(),
            in_order: BTreeMap::new(),
            holding: 0,
            ends: VecDeque::new(),
            tombstones: 0,
            gone: VecDeque::new(),
            gone_count: 0,
            removed: Removed::default(),
            forgotten_through: 0,
            ends_since: 1,
        }
    }

    /// How many channels hold an entry.
    pub(super) fn holding(&self) -> usize {
        self.holding
    }

    /// The removed events of all channels.
    pub(super) fn removed(&self) -> Removed {
        self.removed
    }

    /// The newest event of all channels that were forgotten. Of a channel that is not in the index, nothing
    /// is known up to this number, and none of its events was removed after it.
    pub(super) fn forgotten_through(&self) -> u64 {
        self.forgotten_through
    }

    /// No end with this number or a larger one was forgotten.
    pub(super) fn ends_since(&self) -> u64 {
        self.ends_since
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.records.capacity()
    }

    /// The end of each channel, in order.
    pub(super) fn ends(&self) -> impl ExactSizeIterator<Item = (&ChannelName, u64)> {
        let ends = self.ends.iter();
        ends.map(|&(seq, id)| (&self.record(id).name, seq))
    }

    /// How many ends have a number after `after`, up to and including `to`.
    pub(super) fn ends_between(&self, after: u64, to: u64) -> u64 {
        let rank = |seq| self.ends.partition_point(|end| end.0 <= seq);
        rank(to).saturating_sub(rank(after)) as u64
    }

    pub(super) fn find(&self, name: &ChannelName) -> Option<ChannelId> {
        self.ids.get(&self.secret.hash(name.as_str())).copied()
    }

    pub(super) fn record(&self, id: ChannelId) -> &Record {
        &self.records[id as usize]
    }

    fn record_mut(&mut self, id: ChannelId) -> &mut Record {
        &mut self.records[id as usize]
    }

    /// The channels below this name, in the order of names.
    pub(super) fn below(&self, name: &str) -> impl Iterator<Item = ChannelId> {
        // Their names begin with a slash after the name, and `0` is the next character. A comparison of each
        // name would read each name.
        let (first, end) = (format!("{name}/"), format!("{name}0"));
        let range = (
            Bound::Included(first.as_str()),
            Bound::Excluded(end.as_str()),
        );
        let names = self.in_order.range::<str, _>(range);
        names.map(|(_, &id)| id)
    }

    /// The channels after this name, in the order of names.
    pub(super) fn after(&self, name: Option<&ChannelName>) -> impl Iterator<Item = &Record> {
        let after = name.map_or(Bound::Unbounded, Bound::Excluded);
        let names = self
            .in_order
            .range::<ChannelName, _>((after, Bound::Unbounded));
        names.map(|(_, &id)| self.record(id))
    }

    /// A new channel, whose first entry is then [pushed](Self::push).
    pub(super) fn create(&mut self, name: ChannelName) -> ChannelId {
        // A slab grows to twice its size by itself.
        if self.records.len() == self.records.capacity() {
            self.records.reserve_exact((self.records.len() / 8).max(4));
        }
        let record = Record::new(name.clone(), self.forgotten_through);
        let id = channel_id(self.records.insert(record));
        self.ids.insert(self.secret.hash(name.as_str()), id);
        self.in_order.insert(name, id);
        id
    }

    /// Adds the newest entry of the log, of a channel that has not ended.
    pub(super) fn push(&mut self, id: ChannelId, seq: u64, kind: EntryKind) {
        let record = self.record_mut(id);
        let (was_gone, was_removed) = (record.is_gone(), record.removed.count > 0);
        record.push(seq);
        if kind == EntryKind::End {
            record.end = NonZeroU64::new(seq);
            capacity::grow(&mut self.ends);
            self.ends.push_back((seq, id));
        }
        if was_gone {
            self.holding += 1;
            // Its item stays in `gone`, and is stale.
            self.gone_count -= usize::from(was_removed);
        }
    }

    /// Removes the oldest entry of the log. Afterwards,
    /// [`forget_over_limit`](Self::forget_over_limit) must be called.
    pub(super) fn remove(&mut self, id: ChannelId, seq: u64, time: u64, kind: EntryKind) {
        let record = &mut self.records[id as usize];
        record.pop();
        if kind == EntryKind::Event {
            record.removed.add(seq, time);
            self.removed.add(seq, time);
        }
        if !record.is_gone() {
            return;
        }
        self.holding -= 1;
        if kind == EntryKind::End {
            self.tombstones += 1;
        } else {
            self.gone_count += 1;
            capacity::grow(&mut self.gone);
            self.gone.push_back((seq, id));
        }
    }

    /// Forgets the oldest channels without entries that are more than the limit.
    pub(super) fn forget_over_limit(&mut self) {
        while self.tombstones > self.limit
            && let Some((seq, id)) = self.ends.pop_front()
        {
            self.tombstones -= 1;
            self.ends_since = seq + 1;
            self.forget(id);
        }
        while self.gone_count > self.limit
            && let Some((seq, id)) = self.gone.pop_front()
        {
            if self.is_gone_since(seq, id) {
                self.gone_count -= 1;
                self.forget(id);
            }
        }
        if self.gone.len() > 2 * self.gone_count + MIN_SHRINK {
            self.drop_stale();
        }
    }

    /// Whether this item of `gone` is not stale. No other channel has the same newest event.
    fn is_gone_since(&self, seq: u64, id: ChannelId) -> bool {
        let record = self.records.get(id as usize);
        record.is_some_and(|record| {
            record.is_gone() && record.end.is_none() && record.removed.seq == seq
        })
    }

    fn drop_stale(&mut self) {
        let mut gone = std::mem::take(&mut self.gone);
        gone.retain(|&(seq, id)| self.is_gone_since(seq, id));
        self.gone = gone;
    }

    fn forget(&mut self, id: ChannelId) {
        let record = self.records.remove(id as usize);
        self.ids.remove(&self.secret.hash(record.name.as_str()));
        self.in_order.remove(&record.name);
        self.forgotten_through = self.forgotten_through.max(record.removed.seq);
    }

    /// Frees memory after a burst of channels, unless the log holds so many entries that it would take longer
    /// than the burst. Returns the new number of each channel by its former one, if they have changed.
    pub(super) fn shrink(&mut self, entries: usize) -> Option<Vec<ChannelId>> {
        capacity::shrink(&mut self.ends);
        capacity::shrink(&mut self.gone);
        let capacity = self.ids.capacity();
        if capacity > MIN_SHRINK && self.ids.len() < capacity / 4 {
            self.ids.shrink_to(capacity / 2);
        }
        let (used, capacity) = (self.records.len(), self.records.capacity());
        let is_sparse = capacity > MIN_SHRINK && used < capacity / 2;
        (is_sparse && capacity - used > entries / 64).then(|| self.compact())
    }

    fn compact(&mut self) -> Vec<ChannelId> {
        self.drop_stale();
        let (secret, ids, in_order) = (&self.secret, &mut self.ids, &mut self.in_order);
        let mut moved: Vec<ChannelId> = (0..).take(self.records.capacity()).collect();
        self.records.compact(|record, from, to| {
            let id = channel_id(to);
            moved[from] = id;
            ids.insert(secret.hash(record.name.as_str()), id);
            in_order.insert(record.name.clone(), id);
            true
        });
        for (_, id) in self.ends.iter_mut().chain(&mut self.gone) {
            *id = moved[*id as usize];
        }
        moved
    }

    /// Removes the newest entry of the log, as if it had not been appended. Afterwards,
    /// [`settle`](Self::settle) must be called.
    pub(super) fn lose(&mut self, id: ChannelId, kind: EntryKind) {
        let record = self.record_mut(id);
        record.seqs.pop_back();
        if kind == EntryKind::End {
            record.end = None;
            self.ends.pop_back();
        }
    }

    /// Remembers or forgets the channels that have no entries after a loss.
    pub(super) fn settle(&mut self) {
        let all: Vec<_> = self.ids.values().copied().collect();
        let without_entries = all.iter().filter(|&&id| self.record(id).is_gone());
        let without_entries: Vec<_> = without_entries.copied().collect();
        self.holding = all.len() - without_entries.len();
        self.gone.clear();
        for id in without_entries {
            let record = self.record(id);
            let (end, removed) = (record.end, record.removed);
            match end {
                Some(_) => {}
                None if removed.count == 0 => self.forget(id),
                None => self.gone.push_back((removed.seq, id)),
            }
        }
        self.gone.make_contiguous().sort_unstable();
        self.gone_count = self.gone.len();
        self.forget_over_limit();
    }
}

/// The number of the channel with this key in the slab.
fn channel_id(key: usize) -> ChannelId {
    match ChannelId::try_from(key) {
        Ok(id) => id,
        Err(_) => unreachable!("a log has fewer than 2^32 channels: each takes over 200 bytes"),
    }
}

#[cfg(test)]
mod tests;
