//! Owns `Held`: the entries of a log in memory, and which of them are to go.

use std::collections::{HashSet, VecDeque};

use bytes::{Bytes, BytesMut};
use tidings_proto::EntryCheck;

use super::{MIN_SHRINK, nanos};
use crate::{ChannelName, Draft, Entry, EntryKind, LogError, PAGE_BYTES, Page, Pattern, Retention};

/// How many entries a page looks at, and how often it asks whether a pattern means one: a read of few
/// channels among many is not to keep appends waiting.
const MAX_LOOKS: usize = 8_192;
const MAX_MATCHES: usize = 65_536;

/// How much a tail takes at a time: entries, and bytes of bodies, which one entry may exceed.
const BATCH_ENTRIES: usize = 1_024;
const BATCH_BYTES: usize = 1 << 20;

/// Small bodies lie back to back in blocks of this many bytes: each by itself would cost two
/// allocations, one of them for its count.
const BLOCK_BYTES: usize = 32 * 1024;
const SMALL_BODY: usize = 2 * 1024;

pub(super) struct Held {
    retention: Retention,
    entries: VecDeque<Entry>,
    /// The rest of the block that is being filled.
    block: BytesMut,
    /// The ends among them.
    ends: VecDeque<(ChannelName, u64)>,
    /// Their cost together.
    cost: u64,
    first: u64,
    floor: Option<Floor>,
    /// No entry to come is stamped earlier.
    least_time: u64,
}

/// What is kept of the newest entry that was forgotten for the retention.
struct Floor {
    time: u64,
    check: EntryCheck,
}

/// Where a tail is: behind this entry. The time tells it from another one that came to stand there.
#[derive(Clone, Copy)]
pub(super) struct TailCursor {
    seq: u64,
    time: u64,
}

impl TailCursor {
    pub(super) fn behind(entry: &Entry) -> Self {
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

    /// The oldest end of each channel, in the order of their places.
    pub(super) fn ends(&self) -> Vec<(ChannelName, u64)> {
        let mut seen = HashSet::new();
        let ends = self.ends.iter().filter(|(channel, _)| seen.insert(channel));
        ends.cloned().collect()
    }

    /// Takes an entry, and forgets what is over the retention then.
    pub(super) fn push(&mut self, draft: Draft, now: u64) -> u64 {
        self.least_time = self.least_time.max(now);
        // One text for a row of entries of one channel.
        let newest = self.entries.back().map(|entry| &entry.channel);
        let channel = newest.filter(|channel| **channel == draft.channel).cloned();
        let entry = Entry {
            seq: self.last() + 1,
            time: self.least_time,
            channel: channel.unwrap_or(draft.channel),
            kind: draft.kind,
            body: self.pack(draft.body),
        };
        let seq = entry.seq;
        if entry.kind == EntryKind::End {
            self.ends.push_back((entry.channel.clone(), seq));
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

    /// Forgets what is over the retention at this time.
    pub(super) fn expire(&mut self, now: u64) {
        let Retention {
            max_bytes,
            max_events,
            max_age,
        } = self.retention;
        let oldest = max_age.map_or(0, |age| now.saturating_sub(nanos(age)));
        self.forget_while(|held, entry| {
            held.cost > max_bytes || held.entries.len() as u64 > max_events || entry.time < oldest
        });
    }

    /// Forgets what stands before `first`.
    pub(super) fn trim(&mut self, first: u64) {
        self.forget_while(|_, entry| entry.seq < first);
    }

    /// Forgets the oldest entry, again and again, but never the newest.
    fn forget_while(&mut self, is_over: impl Fn(&Self, &Entry) -> bool) {
        let mut newest = None;
        while self.entries.len() > 1
            && (self.entries.front()).is_some_and(|entry| is_over(self, entry))
            && let Some(entry) = self.entries.pop_front()
        {
            self.first = entry.seq + 1;
            self.cost -= entry.cost();
            newest = Some(entry);
        }
        // The check is a hash of the whole body: only of the one that is needed.
        if let Some(entry) = newest {
            self.floor = Some(Floor {
                time: entry.time,
                check: entry.check(),
            });
            while self.ends.front().is_some_and(|end| end.1 < self.first) {
                self.ends.pop_front();
            }
            self.shrink();
        }
    }

    /// Gives memory back after a burst; by halves, so that it is seldom.
    fn shrink(&mut self) {
        let capacity = self.entries.capacity();
        if capacity > MIN_SHRINK && self.entries.len() < capacity / 4 {
            self.entries.shrink_to(capacity / 2);
        }
    }

    /// Forgets what stands behind `last`.
    pub(super) fn rewind(&mut self, last: u64) {
        while self.entries.back().is_some_and(|entry| entry.seq > last)
            && let Some(entry) = self.entries.pop_back()
        {
            self.cost -= entry.cost();
        }
        while self.ends.back().is_some_and(|end| end.1 > last) {
            self.ends.pop_back();
        }
        // So that whatever takes their places differs from them, even on a clock that stands still.
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
        let mut page = Page {
            entries: Vec::new(),
            through: after,
        };
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

    /// The cursor of who goes on behind `after`.
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

    /// What a tail takes next; empty if nothing has come yet.
    pub(super) fn batch(&self, cursor: TailCursor) -> Result<Vec<Entry>, LogError> {
        if self.cursor(cursor.seq)?.time != cursor.time {
            // What it heard was forgotten, and others have come to stand there.
            return Err(LogError::Rewound { last: self.last() });
        }
        let mut batch = Vec::new();
        let mut bytes = 0;
        let behind = self.entries.range(self.place(cursor.seq)?..);
        for entry in behind.take(BATCH_ENTRIES) {
            if bytes >= BATCH_BYTES {
                break;
            }
            bytes += entry.body.len();
            batch.push(entry.clone());
        }
        Ok(batch)
    }

    /// How many of the entries stand up to `after`.
    fn place(&self, after: u64) -> Result<usize, LogError> {
        if after > self.last() {
            return Err(LogError::Rewound { last: self.last() });
        }
        let place = (after + 1).checked_sub(self.first);
        let place = place.ok_or(LogError::Trimmed { first: self.first })?;
        // It is no more than there are entries.
        Ok(usize::try_from(place).unwrap_or(self.entries.len()))
    }
}
