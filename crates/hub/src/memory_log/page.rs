//! The pages that a log in memory returns: of its entries, and of its channels.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use tidings_proto::Epoch;

use super::held::{Held, TailCursor};
use super::index::ChannelId;
use super::record::Record;
use crate::engine::{Loss, MAX_LOOKS, MAX_MERGED, PageBuilder, Selection};
use crate::{ChannelName, Entry, LogError, PAGE_BYTES, Page, StoredChannel};

/// The maximum size of a batch of a tail: entries, and bytes of bodies, which the last entry may exceed.
const BATCH_ENTRIES: usize = 1_024;
const BATCH_BYTES: usize = 1 << 20;

impl Held {
    /// The entries of the selected channels after `after`, up to and including `newest`, which the log holds
    /// or has removed.
    pub(super) fn page(
        &self,
        after: u64,
        limit: usize,
        selection: &Selection,
        newest: u64,
    ) -> Result<Page, LogError> {
        let Ok(missed) = selection.missed(self, Loss::After(after), newest);
        if missed > 0 {
            return Err(LogError::trimmed(self.first()));
        }
        let from = after.max(self.floor());
        if from >= newest {
            return Ok(Page::new(Vec::new(), after.max(newest)));
        }
        let mut page = PageBuilder::new(from, limit);
        let Ok(channels) = selection.channels(self, MAX_MERGED);
        match channels {
            Some(channels) => self.merge(&channels, newest, &mut page),
            None => self.scan(selection, newest, &mut page),
        }
        Ok(page.build())
    }

    /// Adds entries of these channels.
    fn merge(&self, channels: &[ChannelId], newest: u64, page: &mut PageBuilder) {
        let from = page.through();
        let next = |id, rank| {
            let seq = *self.index.record(id).seqs.get(rank)?;
            (seq <= newest).then_some(Reverse((seq, id, rank)))
        };
        let first = channels.iter();
        let first = first.filter_map(|&id| next(id, self.index.record(id).rank(from)));
        let mut heads: BinaryHeap<_> = first.collect();
        while let Some(mut head) = heads.peek_mut() {
            let Reverse((seq, id, rank)) = *head;
            if !page.add(self.entry(seq)) {
                return;
            }
            match next(id, rank + 1) {
                Some(next) => *head = next,
                None => drop(PeekMut::pop(head)),
            }
        }
        page.cover(newest);
    }

    /// Adds selected entries among the next ones.
    fn scan(&self, selection: &Selection, newest: u64, page: &mut PageBuilder) {
        let from = page.through();
        let entries = (from + 1..=newest).zip(self.entries.range(self.next(from)..));
        for (seq, entry) in entries.take(selection.looks()) {
            let is_selected = selection.covers(&self.index.record(entry.channel).name);
            if is_selected && !page.add(self.numbered(entry, seq)) {
                return;
            }
            page.cover(seq);
        }
    }

    /// The next batch of a tail; empty if there is no new entry.
    pub(super) fn batch(&self, cursor: TailCursor) -> Result<Vec<Entry>, LogError> {
        if self.cursor(cursor.seq)?.time != cursor.time {
            // The entry that it has returned was removed, and another one has taken its place.
            return Err(LogError::rewound(self.last()));
        }
        let mut batch = Vec::new();
        let mut bytes = 0;
        let next = self.entries.range(self.next(cursor.seq)..);
        for (seq, entry) in (cursor.seq + 1..).zip(next.take(BATCH_ENTRIES)) {
            if bytes >= BATCH_BYTES {
                break;
            }
            let entry = self.numbered(entry, seq);
            bytes += entry.body.len();
            batch.push(entry);
        }
        Ok(batch)
    }

    /// The channel with this name, if the log holds an entry of it or remembers its end.
    pub(super) fn channel(&mut self, name: &ChannelName, epoch: &Epoch) -> Option<StoredChannel> {
        let id = self.index.find(name)?;
        let found = Found::of(self.index.record(id))?;
        Some(self.stored(found, epoch))
    }

    /// Searches the next channels after `after`, for at most `limit` that [`channel`](Self::channel)
    /// returns. Returns them and moves `after` to the last one examined; `None` if the search must go on.
    pub(super) fn channels(
        &mut self,
        after: &mut Option<ChannelName>,
        limit: usize,
        epoch: &Epoch,
    ) -> Option<Vec<StoredChannel>> {
        let mut looks = 0;
        let mut bytes = 0;
        let mut last = None;
        let mut page = Vec::new();
        for record in self.index.after(after.as_ref()).take(MAX_LOOKS) {
            looks += 1;
            last = Some(&record.name);
            let Some(found) = Found::of(record) else {
                continue;
            };
            // Each body is hashed for the position.
            let newest = found.newest.map(|seq| self.entry(seq));
            bytes += newest.map_or(0, |entry| entry.body.len());
            if bytes > PAGE_BYTES && !page.is_empty() {
                break;
            }
            page.push(found);
            if page.len() >= limit {
                break;
            }
        }
        if page.is_empty() && looks == MAX_LOOKS {
            *after = last.cloned();
            return None;
        }
        let page = page.into_iter();
        Some(page.map(|found| self.stored(found, epoch)).collect())
    }

    fn stored(&mut self, found: Found, epoch: &Epoch) -> StoredChannel {
        let newest = found.newest.map(|seq| self.place(seq).in_epoch(epoch));
        StoredChannel::new(found.name, newest, found.end)
    }
}

/// A channel that is stored, before its newest event is hashed.
struct Found {
    name: ChannelName,
    newest: Option<u64>,
    end: Option<u64>,
}

impl Found {
    /// `None` for a channel without entries and without an end.
    fn of(record: &Record) -> Option<Self> {
        let is_stored = record.end.is_some() || !record.is_gone();
        is_stored.then(|| Self {
            name: record.name.clone(),
            newest: record.newest_event(),
            end: record.end(),
        })
    }
}
