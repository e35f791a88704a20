//! `Oracle`: the right answers of a log, from a plain list of every entry that it has stored.

use std::collections::BTreeMap;

use tidings_hub::{ChannelName, Entry, EntryKind, Pattern, Retention};

pub(super) struct Oracle {
    retention: Retention,
    /// The cost of a channel that has entries, besides the entries, in bytes.
    channel_bytes: u64,
    /// Every entry that was stored and not lost, including the removed ones, and the life of its channel.
    all: Vec<(Entry, usize)>,
    /// The number of the newest entry that was removed.
    pub(super) floor: u64,
    /// The channels that are not forgotten.
    known: BTreeMap<ChannelName, Known>,
    /// The entries of each life of a channel, in order.
    lives: Vec<Vec<u64>>,
    pub(super) forgotten_through: u64,
    pub(super) ends_since: u64,
}

/// A channel that is not forgotten.
#[derive(Clone, Copy)]
struct Known {
    /// The life of the channel; a channel that is known again has a new one.
    life: usize,
    /// Up to this number, the channel may have had a life before.
    since: u64,
}

/// The events that a subscriber misses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Missed {
    /// The number of events that are certainly missed.
    pub(super) least: u64,
    /// The largest number that the log may report.
    pub(super) most: u64,
}

impl Oracle {
    pub(super) fn new(retention: Retention, channel_bytes: u64) -> Self {
        Self {
            retention,
            channel_bytes,
            all: Vec::new(),
            floor: 0,
            known: BTreeMap::new(),
            lives: Vec::new(),
            forgotten_through: 0,
            ends_since: 1,
        }
    }

    pub(super) fn last(&self) -> u64 {
        self.all.len() as u64
    }

    /// The entries after this number, including removed ones.
    pub(super) fn after(&self, after: u64) -> impl DoubleEndedIterator<Item = &Entry> + Clone {
        let after = usize::try_from(after).unwrap().min(self.all.len());
        self.all[after..].iter().map(|(entry, _)| entry)
    }

    pub(super) fn held(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.after(self.floor)
    }

    /// The entry with this number; `None` for 0.
    pub(super) fn entry(&self, seq: u64) -> Option<&Entry> {
        let at = usize::try_from(seq.checked_sub(1)?).unwrap();
        self.all.get(at).map(|(entry, _)| entry)
    }

    /// Appends an entry. The retention is applied later.
    pub(super) fn push(&mut self, entry: Entry) {
        let name = entry.channel.clone();
        let known = self.known.entry(name).or_insert_with(|| {
            self.lives.push(Vec::new());
            Known {
                life: self.lives.len() - 1,
                since: self.forgotten_through,
            }
        });
        self.lives[known.life].push(entry.seq);
        self.all.push((entry, known.life));
    }

    /// Removes the entries that exceed the retention.
    pub(super) fn apply_retention(&mut self) {
        let floor = self.floor;
        while self.floor + 1 < self.last() && self.is_over() {
            self.floor += 1;
        }
        if self.floor > floor {
            self.settle();
        }
    }

    fn is_over(&self) -> bool {
        let is_held = |known: &&Known| self.lives[known.life].last() > Some(&self.floor);
        let channels = self.known.values().filter(is_held).count() as u64;
        let cost: u64 = self.held().map(Entry::cost).sum();
        let events = self.retention.max_events.unwrap_or(u64::MAX);
        cost + channels * self.channel_bytes > self.retention.max_bytes
            || self.last() - self.floor > events
    }

    pub(super) fn trim(&mut self, first: u64) {
        let most = self.last().saturating_sub(1);
        self.floor = self.floor.max(first.saturating_sub(1).min(most));
        self.settle();
    }

    /// Returns the number of the newest entry that is left.
    pub(super) fn rewind(&mut self, last: u64) -> u64 {
        let last = last.max(self.floor);
        self.all.truncate(usize::try_from(last).unwrap());
        for life in &mut self.lives {
            life.truncate(life.partition_point(|seq| *seq <= last));
        }
        self.settle();
        self.last()
    }

    /// Forgets channels.
    fn settle(&mut self) {
        let names: Vec<_> = self.known.keys().cloned().collect();
        let mut gone: [Vec<(u64, ChannelName)>; 2] = Default::default();
        for name in names {
            let newest = self.entries_of(&name).next_back();
            match newest.map(|entry| (entry.seq, entry.kind)) {
                None => drop(self.known.remove(&name)),
                Some((seq, _)) if seq > self.floor => {}
                Some((seq, EntryKind::Event)) => gone[0].push((seq, name)),
                Some((seq, EntryKind::End)) => gone[1].push((seq, name)),
            }
        }
        let limit = usize::try_from(self.retention.remembered_channels).unwrap();
        for mut gone in gone {
            gone.sort();
            gone.truncate(gone.len().saturating_sub(limit));
            gone.iter().for_each(|(_, name)| self.forget(name));
        }
    }

    fn forget(&mut self, name: &ChannelName) {
        if let Some(end) = self.end_of(name) {
            self.ends_since = self.ends_since.max(end + 1);
        }
        let newest = self.events_of(name).next_back().map(|entry| entry.seq);
        self.forgotten_through = self.forgotten_through.max(newest.unwrap_or(0));
        self.known.remove(name);
    }

    /// The entries of a known channel, in its present life.
    fn entries_of(&self, name: &ChannelName) -> impl DoubleEndedIterator<Item = &Entry> {
        let known = self.known.get(name);
        let seqs = known.map_or(&[][..], |known| &self.lives[known.life]);
        seqs.iter().filter_map(|seq| self.entry(*seq))
    }

    fn events_of(&self, name: &ChannelName) -> impl DoubleEndedIterator<Item = &Entry> {
        let entries = self.entries_of(name);
        entries.filter(|entry| entry.kind == EntryKind::Event)
    }

    pub(super) fn end_of(&self, name: &ChannelName) -> Option<u64> {
        let newest = self.entries_of(name).next_back();
        let end = newest.filter(|entry| entry.kind == EntryKind::End);
        end.map(|entry| entry.seq)
    }

    /// The channels of which the log holds an entry or remembers the end, in the order of names: each with
    /// its newest event that is held, and its end.
    pub(super) fn channels(
        &self,
    ) -> impl Iterator<Item = (&ChannelName, Option<&Entry>, Option<u64>)> {
        self.known.keys().filter_map(|name| {
            let end = self.end_of(name);
            let newest = self.entries_of(name).next_back();
            let is_held = newest.is_some_and(|entry| entry.seq > self.floor);
            let newest = self.events_of(name).next_back();
            let newest = newest.filter(|event| event.seq > self.floor);
            (is_held || end.is_some()).then_some((name, newest, end))
        })
    }

    /// The ends that are not forgotten, in order.
    pub(super) fn ends(&self) -> Vec<(ChannelName, u64)> {
        let ends = self.known.keys();
        let ends = ends.filter_map(|name| Some((name.clone(), self.end_of(name)?)));
        let mut ends: Vec<_> = ends.collect();
        ends.sort_by_key(|end| end.1);
        ends
    }

    /// The number of events that a subscriber misses after it has received everything up to `after`. An event
    /// after `newest` is not missed, but the log may not know that it is one.
    pub(super) fn missed_after(&self, patterns: &[Pattern], after: u64, newest: u64) -> Missed {
        let removed = self.after(after).filter(|entry| is_meant(patterns, entry));
        let removed = removed.filter(|entry| entry.seq <= self.floor);
        let is_missed = |entry: &&Entry| entry.seq <= newest;
        let least = removed.clone().filter(is_missed).count() as u64;
        let is_certain = !self.may_be_forgotten(patterns, after);
        let is_none = is_certain && removed.count() == 0;
        let reach = self.floor.min(newest).saturating_sub(after);
        Missed {
            least,
            most: if is_none { 0 } else { reach },
        }
    }

    /// Whether the log may have forgotten an event after this number.
    fn may_be_forgotten(&self, patterns: &[Pattern], after: u64) -> bool {
        let since = |pattern: &Pattern| {
            let known = pattern.as_channel().and_then(|name| self.known.get(name));
            known.map_or(self.forgotten_through, |known| known.since)
        };
        patterns.iter().any(|pattern| after < since(pattern))
    }

    /// The number of events that meet a condition and that a subscriber without any event has missed.
    pub(super) fn missed(&self, patterns: &[Pattern], is_wanted: impl Fn(&Entry) -> bool) -> u64 {
        let removed = self.all.iter();
        let removed = removed.take_while(|(entry, _)| entry.seq <= self.floor);
        let missed = removed.filter(|(entry, life)| {
            // The events of a forgotten channel do not count. All channels together are never forgotten.
            let known = self.known.get(&entry.channel);
            let is_known = known.is_some_and(|known| known.life == *life);
            is_meant(patterns, entry) && (is_known || patterns.is_empty()) && is_wanted(entry)
        });
        missed.count() as u64
    }
}

/// Whether it is an event of the channels that match a pattern, or of any channel.
pub(super) fn is_meant(patterns: &[Pattern], entry: &Entry) -> bool {
    entry.kind == EntryKind::Event && is_selected(patterns, entry)
}

pub(super) fn is_selected(patterns: &[Pattern], entry: &Entry) -> bool {
    patterns.is_empty() || patterns.iter().any(|p| p.matches(&entry.channel))
}
