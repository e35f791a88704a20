//! `Held`: the entries of a log in memory, and their removal by the retention.

use std::collections::VecDeque;
use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use tidings_proto::EntryCheck;

use super::index::{ChannelId, Index};
use super::{capacity, nanos};
use crate::{ChannelName, Draft, Entry, EntryKind, LogError, Place, Retention};

/// What a channel that has entries costs, in bytes.
pub(super) const CHANNEL_BYTES: u64 = 256;

/// Small bodies are packed into blocks of this many bytes. Each by itself would cost two
/// allocations, one of them for its reference count.
const BLOCK_BYTES: usize = 64 * 1024;
const SMALL_BODY: usize = 1024;

/// How many checks are remembered.
const CHECKS: usize = 8;

pub(super) struct Held {
    retention: Retention,
    pub(super) entries: VecDeque<HeldEntry>,
    pub(super) index: Index,
    /// The free rest of the current block.
    block: BytesMut,
    /// The total cost of the entries.
    cost: u64,
    floor: Floor,
    /// Checks of recent questions, each at its number modulo the length. Hubs ask again and again for the
    /// newest entries, and a check hashes the whole body.
    checks: [Option<Place>; CHECKS],
    /// The next entry gets at least this time.
    least_time: u64,
}

/// An entry without its number, which is its place in the queue, and without the name of its channel.
pub(super) struct HeldEntry {
    pub(super) time: u64,
    body: Bytes,
    pub(super) channel: ChannelId,
    /// The length of the name, so that the cost is known without the channel.
    name_bytes: u8,
    pub(super) kind: EntryKind,
}

impl HeldEntry {
    /// As [`Entry::cost`].
    fn cost(&self) -> u64 {
        Entry::cost_of(self.name_bytes.into(), self.body.len())
    }
}

/// The newest entry that was removed by the retention.
struct Floor {
    seq: u64,
    time: u64,
    check: FloorCheck,
}

enum FloorCheck {
    Known(EntryCheck),
    /// Not hashed yet: most floors are raised before somebody asks.
    Of(HeldEntry),
}

/// The last entry that a tail has returned. Its time distinguishes it from another entry that has
/// taken its place.
#[derive(Clone, Copy)]
pub(super) struct TailCursor {
    pub(super) seq: u64,
    pub(super) time: u64,
}

impl Held {
    pub(super) fn new(retention: Retention) -> Self {
        Self {
            retention,
            entries: VecDeque::new(),
            index: Index::new(retention.remembered_channels),
            block: BytesMut::new(),
            cost: 0,
            floor: Floor {
                seq: 0,
                time: 0,
                check: FloorCheck::Known(Place::start().check),
            },
            checks: [None; CHECKS],
            least_time: 0,
        }
    }

    pub(super) fn floor(&self) -> u64 {
        self.floor.seq
    }

    pub(super) fn first(&self) -> u64 {
        self.floor.seq + 1
    }

    pub(super) fn last(&self) -> u64 {
        self.floor.seq + self.entries.len() as u64
    }

    /// The index in `entries` of the entry after this number, which is not before the floor.
    pub(super) fn next(&self, after: u64) -> usize {
        match usize::try_from(after - self.floor.seq) {
            Ok(at) => at.min(self.entries.len()),
            Err(_) => self.entries.len(),
        }
    }

    /// The entry with this number, which the log holds.
    pub(super) fn entry(&self, seq: u64) -> Entry {
        self.numbered(&self.entries[self.next(seq - 1)], seq)
    }

    /// The held entry, with its number and the name of its channel.
    pub(super) fn numbered(&self, held: &HeldEntry, seq: u64) -> Entry {
        Entry {
            seq,
            time: held.time,
            channel: self.index.record(held.channel).name.clone(),
            kind: held.kind,
            body: held.body.clone(),
        }
    }

    /// The place of the entry with this number, or the floor if the entry was removed. The log must have
    /// stored it.
    pub(super) fn place(&mut self, seq: u64) -> Place {
        if seq <= self.floor.seq {
            return self.floor_place();
        }
        let slot = usize::try_from(seq % CHECKS as u64).unwrap_or_default();
        if let Some(place) = self.checks[slot].filter(|place| place.seq == seq) {
            return place;
        }
        let check = self.entry(seq).check();
        let place = Place { seq, check };
        self.checks[slot] = Some(place);
        place
    }

    pub(super) fn floor_place(&mut self) -> Place {
        let check = match &self.floor.check {
            FloorCheck::Known(check) => *check,
            FloorCheck::Of(entry) => self.numbered(entry, self.floor.seq).check(),
        };
        self.floor.check = FloorCheck::Known(check);
        let seq = self.floor.seq;
        Place { seq, check }
    }

    /// Whether the log holds this place, or has removed its entry by the retention.
    pub(super) fn holds(&mut self, place: Place) -> bool {
        match place.seq {
            0 => place == Place::start(),
            seq if seq > self.last() => false,
            // Nothing is left to compare.
            seq if seq < self.floor.seq => true,
            seq => self.place(seq) == place,
        }
    }

    /// Stores an entry of this channel, and removes the oldest ones that then exceed the retention.
    pub(super) fn push(&mut self, id: Option<ChannelId>, draft: Draft, now: u64) -> u64 {
        self.least_time = self.least_time.max(now);
        let seq = self.last() + 1;
        let Ok(name_bytes) = u8::try_from(draft.channel.as_str().len()) else {
            unreachable!("a name has at most 255 bytes")
        };
        let id = id.unwrap_or_else(|| self.index.create(draft.channel));
        self.index.push(id, seq, draft.kind);
        let entry = HeldEntry {
            time: self.least_time,
            body: self.pack(draft.body),
            channel: id,
            name_bytes,
            kind: draft.kind,
        };
        self.cost += entry.cost();
        capacity::grow(&mut self.entries);
        self.entries.push_back(entry);
        self.expire(now);
        seq
    }

    /// Reads the channel of the oldest entry, which this append probably removes, so that the processor
    /// fetches it while it looks for the channel of the new entry. In a log of 100,000 channels, an append
    /// takes an eighth less time.
    pub(super) fn touch_oldest(&self) {
        if let Some(entry) = self.entries.front() {
            black_box(self.index.record(entry.channel).removed.count);
        }
    }

    /// The channel with this name. The newest entry is often of the same channel.
    pub(super) fn find(&self, name: &ChannelName) -> Option<ChannelId> {
        let newest = self.entries.back().map(|entry| entry.channel);
        let same = newest.filter(|&id| self.index.record(id).name == *name);
        same.or_else(|| self.index.find(name))
    }

    fn pack(&mut self, body: Bytes) -> Bytes {
        if body.is_empty() || body.len() > SMALL_BODY {
            return body;
        }
        if self.block.capacity() < body.len() {
            self.block = BytesMut::with_capacity(BLOCK_BYTES);
        }
        self.block.extend_from_slice(&body);
        self.block.split().freeze()
    }

    /// Removes the oldest entries that exceed the retention at this time.
    pub(super) fn expire(&mut self, now: u64) {
        let Retention {
            max_bytes,
            max_events,
            max_age,
            ..
        } = self.retention;
        let max_events = max_events.unwrap_or(u64::MAX);
        let oldest = max_age.map_or(0, |age| now.saturating_sub(nanos(age)));
        self.remove_while(|held, entry| {
            held.total_cost() > max_bytes
                || held.entries.len() as u64 > max_events
                || entry.time < oldest
        });
    }

    fn total_cost(&self) -> u64 {
        self.cost + self.index.holding() as u64 * CHANNEL_BYTES
    }

    /// Removes the entries before `first`.
    pub(super) fn trim(&mut self, first: u64) {
        self.remove_while(|held, _| held.first() < first);
    }

    /// Removes the oldest entry while the condition holds, but never the newest entry.
    fn remove_while(&mut self, is_over: impl Fn(&Self, &HeldEntry) -> bool) {
        let before = self.floor.seq;
        while self.entries.len() > 1
            && (self.entries.front()).is_some_and(|entry| is_over(self, entry))
            && let Some(entry) = self.entries.pop_front()
        {
            self.remove(entry);
        }
        if self.floor.seq > before {
            self.settle_floor();
            self.index.forget_over_limit();
            self.shrink();
        }
    }

    /// Makes the oldest entry, which was taken from the queue, the floor.
    fn remove(&mut self, entry: HeldEntry) {
        let (seq, time) = (self.first(), entry.time);
        self.cost -= entry.cost();
        self.index.remove(entry.channel, seq, time, entry.kind);
        let check = FloorCheck::Of(entry);
        self.floor = Floor { seq, time, check };
    }

    /// Hashes the floor now if it is large, because it would stay in memory, or if its channel may be
    /// forgotten.
    fn settle_floor(&mut self) {
        if let FloorCheck::Of(entry) = &self.floor.check
            && (entry.body.len() > SMALL_BODY || self.index.record(entry.channel).is_gone())
        {
            self.floor_place();
        }
    }

    /// Frees memory after a burst.
    fn shrink(&mut self) {
        capacity::shrink(&mut self.entries);
        if let Some(moved) = self.index.shrink(self.entries.len()) {
            let floor = match &mut self.floor.check {
                FloorCheck::Known(_) => None,
                FloorCheck::Of(entry) => Some(entry),
            };
            for entry in self.entries.iter_mut().chain(floor) {
                entry.channel = moved[entry.channel as usize];
            }
        }
    }

    /// Removes the entries after `last`.
    pub(super) fn rewind(&mut self, last: u64) {
        // Its channel may be forgotten.
        self.floor_place();
        while self.last() > last.max(self.floor.seq)
            && let Some(entry) = self.entries.pop_back()
        {
            self.cost -= entry.cost();
            self.index.lose(entry.channel, entry.kind);
        }
        self.index.settle();
        self.checks = [None; CHECKS];
        // New entries under the same numbers must have other checks, even if the clock has not moved.
        self.least_time = self.least_time.saturating_add(1);
    }

    /// The cursor of a tail that continues after this number.
    pub(super) fn cursor(&self, after: u64) -> Result<TailCursor, LogError> {
        if after > self.last() {
            return Err(LogError::rewound(self.last()));
        }
        if after < self.floor.seq {
            return Err(LogError::trimmed(self.first()));
        }
        let newest = self.next(after).checked_sub(1);
        Ok(TailCursor {
            seq: after,
            time: newest.map_or(self.floor.time, |at| self.entries[at].time),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::tests::HASHED;
    use crate::{Log, LogErrorKind, MemoryLog, Scope};

    const BYTES: usize = 1 << 20;

    #[tokio::test]
    async fn the_newest_entry_is_hashed_once_however_often_it_is_checked() {
        let log = MemoryLog::default();
        let draft = Draft::event(ChannelName::new("a").unwrap(), vec![b'x'; BYTES]);
        log.append(draft.clone()).await.unwrap();
        let newest = log.bounds().await.unwrap().newest();
        let before = HASHED.get();
        for _ in 0..1_000 {
            log.bounds().await.unwrap();
            log.read(0, 1, Scope::all(&newest)).await.unwrap();
        }
        assert_eq!(HASHED.get() - before, 0);
        // Another entry with the same bytes under the same number.
        log.rewind(0);
        log.append(draft).await.unwrap();
        let error = log.read(0, 1, Scope::all(&newest)).await.unwrap_err();
        assert_eq!(error.kind(), LogErrorKind::Rewound { last: 1 });
    }

    #[tokio::test]
    async fn a_removed_entry_is_hashed_only_if_it_is_asked_for_or_large() {
        let log = MemoryLog::new(Retention::in_memory().max_events(Some(1)));
        let draft = |bytes| Draft::event(ChannelName::new("a").unwrap(), vec![b'x'; bytes]);
        let before = HASHED.get();
        for _ in 0..10 {
            log.append(draft(1_000)).await.unwrap();
        }
        assert_eq!(HASHED.get() - before, 0);
        log.append(draft(BYTES)).await.unwrap();
        log.bounds().await.unwrap();
        assert_eq!(HASHED.get() - before, 1_000 + BYTES);
    }

    #[tokio::test]
    async fn entries_stay_those_of_their_channels_after_a_burst_of_channels() {
        let log = MemoryLog::new(Retention::in_memory().remembered_channels(10));
        let append = async |name: String| {
            let draft = Draft::event(ChannelName::new(name).unwrap(), "x");
            log.append(draft).await.unwrap();
        };
        for n in 0..5_000 {
            append(format!("burst/{n}")).await;
        }
        for name in ["a", "b", "a", "b", "a"] {
            append(name.to_owned()).await;
        }
        let newest = log.bounds().await.unwrap().newest();
        let before = log.read(5_000, 9, Scope::all(&newest)).await.unwrap();
        log.trim(5_002);
        let bounds = log.bounds().await.unwrap();
        assert_eq!(bounds.floor.check, before.entries[0].check());
        let after = log.read(5_001, 9, Scope::all(&newest)).await.unwrap();
        assert_eq!(after.entries, before.entries[1..]);
        assert!(log.0.look().held.index.capacity() < 100);
    }
}
