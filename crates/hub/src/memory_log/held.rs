//! `Held`: the entries of a log in memory, and their removal by the retention.

use std::collections::{HashSet, VecDeque};

use bytes::{Bytes, BytesMut};
use tidings_proto::EntryCheck;

use super::{MIN_SHRINK, nanos};
use crate::{ChannelName, Draft, Entry, EntryKind, LogError, PAGE_BYTES, Page, Pattern, Retention};

/// The maximum number of entries that a read examines, and of pattern matches that it tries. A read
/// of few channels among many must not delay appends.
const MAX_LOOKS: usize = 8_192;
const MAX_MATCHES: usize = 65_536;

/// The maximum size of a batch of a tail: entries, and bytes of bodies, which the last entry may exceed.
const BATCH_ENTRIES: usize = 1_024;
const BATCH_BYTES: usize = 1 << 20;

/// Small bodies are packed into blocks of this many bytes. Each by itself would cost two
/// allocations, one of them for its reference count.
const BLOCK_BYTES: usize = 32 * 1024;
const SMALL_BODY: usize = 2 * 1024;

pub(super) struct Held {
    retention: Retention,
    entries: VecDeque<Entry>,
    /// The free rest of the current block.
    block: BytesMut,
    /// The ends of channels, in order, without late ones.
    ends: VecDeque<(ChannelName, u64)>,
    /// The channels of `ends`: each has one.
    ended: HashSet<ChannelName>,
    /// The total cost of the entries.
    cost: u64,
    first: u64,
    floor: Option<Floor>,
    /// The next entry gets at least this time.
    least_time: u64,
}

/// The time and the check of the newest entry that was removed by the retention.
struct Floor {
    time: u64,
    check: EntryCheck,
}

/// The last entry that a tail has returned. Its time distinguishes it from another entry that has
/// taken its place.
#[derive(Clone, Copy)]
pub(super) struct TailCursor {
    seq: u64,
    time: u64,
}

impl TailCursor {
    pub(super) fn after(entry: &Entry) -> Self {
        Self {
            seq: entry.seq,
            time: entry.time,
        }
    }
}

impl Held {
    pub(super) fn new(retention: Retention) -> Self {
        Self {
            retention,
            entries: VecDeque::new(),
            block: BytesMut::new(),
            ends: VecDeque::new(),
            ended: HashSet::new(),
            cost: 0,
            first: 1,
            floor: None,
            least_time: 0,
        }
    }

    pub(super) fn first(&self) -> u64 {
        self.first
    }

    pub(super) fn last(&self) -> u64 {
        self.first + self.entries.len() as u64 - 1
    }

    pub(super) fn floor(&self) -> Option<EntryCheck> {
        self.floor.as_ref().map(|floor| floor.check)
    }

    /// The end of each channel, in the order of places.
    pub(super) fn ends(&self) -> Vec<(ChannelName, u64)> {
        self.ends.iter().cloned().collect()
    }

    /// Whether the log holds an end of this channel, so that its next entry is late.
    pub(super) fn has_ended(&self, channel: &ChannelName) -> bool {
        self.ended.contains(channel)
    }

    /// Stores an entry, and removes the oldest ones that then exceed the retention.
    pub(super) fn push(&mut self, mut draft: Draft, now: u64) -> u64 {
        self.least_time = self.least_time.max(now);
        // Consecutive entries of one channel share one text.
        let newest = self.entries.back().map(|entry| &entry.channel);
        if let Some(channel) = newest.filter(|channel| **channel == draft.channel) {
            draft.channel = channel.clone();
        }
        draft.body = self.pack(draft.body);
        let seq = self.last() + 1;
        // Decided once, so that every hub hides the same entries, whatever is removed later.
        let is_late = self.has_ended(&draft.channel);
        let entry = Entry::new(seq, self.least_time, draft).late(is_late);
        if entry.kind == EntryKind::End && !is_late {
            self.ends.push_back((entry.channel.clone(), seq));
            self.ended.insert(entry.channel.clone());
        }
        self.cost += entry.cost();
        self.entries.push_back(entry);
        self.expire(now);
        seq
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
        } = self.retention;
        let oldest = max_age.map_or(0, |age| now.saturating_sub(nanos(age)));
        self.remove_while(|held, entry| {
            held.cost > max_bytes || held.entries.len() as u64 > max_events || entry.time < oldest
        });
    }

    /// Removes the entries before `first`.
    pub(super) fn trim(&mut self, first: u64) {
        self.remove_while(|_, entry| entry.seq < first);
    }

    /// Removes the oldest entry while the condition holds, but never the newest entry.
    fn remove_while(&mut self, is_over: impl Fn(&Self, &Entry) -> bool) {
        let mut newest = None;
        while self.entries.len() > 1
            && (self.entries.front()).is_some_and(|entry| is_over(self, entry))
            && let Some(entry) = self.entries.pop_front()
        {
            self.first = entry.seq + 1;
            self.cost -= entry.cost();
            newest = Some(entry);
        }
        // The check hashes the whole body, so it is computed only for the last removed entry.
        if let Some(entry) = newest {
            self.floor = Some(Floor {
                time: entry.time,
                check: entry.check(),
            });
            while self.ends.front().is_some_and(|end| end.1 < self.first)
                && let Some((channel, _)) = self.ends.pop_front()
            {
                self.ended.remove(&channel);
            }
            self.shrink();
        }
    }

    /// Frees memory after a burst, by half at a time so that it happens rarely.
    fn shrink(&mut self) {
        let capacity = self.entries.capacity();
        if capacity > MIN_SHRINK && self.entries.len() < capacity / 4 {
            self.entries.shrink_to(capacity / 2);
        }
        let capacity = self.ended.capacity();
        if capacity > MIN_SHRINK && self.ended.len() < capacity / 4 {
            self.ended.shrink_to(capacity / 2);
            self.ends.shrink_to(capacity / 2);
        }
    }

    /// Removes the entries after `last`.
    pub(super) fn rewind(&mut self, last: u64) {
        while self.entries.back().is_some_and(|entry| entry.seq > last)
            && let Some(entry) = self.entries.pop_back()
        {
            self.cost -= entry.cost();
        }
        while self.ends.back().is_some_and(|end| end.1 > last)
            && let Some((channel, _)) = self.ends.pop_back()
        {
            self.ended.remove(&channel);
        }
        // New entries at the same places must have other checks, even if the clock has not moved.
        self.least_time = self.least_time.saturating_add(1);
    }

    pub(super) fn page(
        &self,
        after: u64,
        up_to: u64,
        patterns: &[Pattern],
        limit: usize,
    ) -> Result<Page, LogError> {
        let limit = limit.max(1);
        let looks = (MAX_MATCHES / patterns.len().max(1)).clamp(1, MAX_LOOKS);
        let mut bytes = 0;
        let mut page = Page::new(Vec::new(), after);
        for entry in self.entries.range(self.place(after)?..).take(looks) {
            if entry.seq > up_to || page.entries.len() == limit {
                break;
            }
            if patterns.is_empty() || patterns.iter().any(|p| p.matches(&entry.channel)) {
                bytes += entry.body.len();
                if bytes > PAGE_BYTES && !page.entries.is_empty() {
                    break;
                }
                page.entries.push(entry.clone());
            }
            page.through = entry.seq;
        }
        Ok(page)
    }

    /// The cursor of a tail that continues after `after`.
    pub(super) fn cursor(&self, after: u64) -> Result<TailCursor, LogError> {
        let time = match self.place(after)?.checked_sub(1) {
            Some(at) => self.entries.get(at).map(|entry| entry.time),
            None => self.floor.as_ref().map(|floor| floor.time),
        };
        Ok(TailCursor {
            seq: after,
            time: time.unwrap_or_default(),
        })
    }

    /// The next batch of a tail; empty if there is no new entry.
    pub(super) fn batch(&self, cursor: TailCursor) -> Result<Vec<Entry>, LogError> {
        if self.cursor(cursor.seq)?.time != cursor.time {
            // The entry that it has returned was removed, and another one has taken its place.
            return Err(LogError::rewound(self.last()));
        }
        let mut batch = Vec::new();
        let mut bytes = 0;
        let next = self.entries.range(self.place(cursor.seq)?..);
        for entry in next.take(BATCH_ENTRIES) {
            if bytes >= BATCH_BYTES {
                break;
            }
            bytes += entry.body.len();
            batch.push(entry.clone());
        }
        Ok(batch)
    }

    /// How many of the entries are at or before `after`.
    fn place(&self, after: u64) -> Result<usize, LogError> {
        if after > self.last() {
            return Err(LogError::rewound(self.last()));
        }
        let place = (after + 1).checked_sub(self.first);
        let place = place.ok_or(LogError::trimmed(self.first))?;
        match usize::try_from(place) {
            Ok(place) => Ok(place),
            Err(_) => unreachable!("it is at most the number of entries"),
        }
    }
}
