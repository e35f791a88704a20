//! `History`: all entries that a law has appended to a log, also those that the log has removed.

use std::ops::RangeInclusive;

use tidings_hub::{Draft, Entry, EntryKind, Place};

use super::subject::{Subject, patterns_of, place_of};

pub(super) struct History {
    pub(super) log: Subject,
    pub(super) entries: Vec<Entry>,
}

impl History {
    pub(super) fn of(log: &Subject) -> Self {
        let log = log.clone();
        let entries = Vec::new();
        Self { log, entries }
    }

    /// Appends an entry, and reads it back before the log can remove it.
    pub(super) async fn append(&mut self, draft: Draft) -> u64 {
        let seq = self.log.append(draft).await.seq;
        self.record(seq).await;
        seq
    }

    /// Reads back an entry that was appended.
    pub(super) async fn record(&mut self, seq: u64) {
        let page = self.log.read(seq - 1, 1, &[]).await.unwrap();
        self.entries.extend(page.entries);
        assert_eq!(self.last(), seq, "an entry has the number of its append");
    }

    pub(super) fn last(&self) -> u64 {
        self.entries.len() as u64
    }

    pub(super) async fn floor(&self) -> u64 {
        self.log.bounds().await.floor.seq
    }

    pub(super) fn place(&self, seq: u64) -> Place {
        match seq.checked_sub(1) {
            Some(at) => place_of(&self.entries[usize::try_from(at).unwrap()]),
            None => Place::start(),
        }
    }

    /// The entries of these channels with these numbers; without channels, those of all channels.
    pub(super) fn of_channels(&self, channels: &[&str], seqs: RangeInclusive<u64>) -> Vec<Entry> {
        let patterns = patterns_of(channels);
        let entries = self.entries.iter().filter(|entry| {
            seqs.contains(&entry.seq)
                && (patterns.is_empty() || patterns.iter().any(|p| p.matches(&entry.channel)))
        });
        entries.cloned().collect()
    }

    /// The events among them.
    pub(super) fn events(&self, channels: &[&str], seqs: RangeInclusive<u64>) -> Vec<Entry> {
        let mut entries = self.of_channels(channels, seqs);
        entries.retain(|entry| entry.kind == EntryKind::Event);
        entries
    }
}
