//! `Channels`: the channels that the log must know, and the range in which it knows each one.

use std::cmp::Reverse;
use std::collections::HashMap;

use tidings_hub::{Abilities, ChannelName, Pattern};

/// The channels that a log knows, as a plain table.
///
/// A log that knows its channels remembers each channel of which it holds an entry. Of the others, it
/// remembers the `remembered` ended ones and as many that have not ended: those whose newest entry is the
/// newest. A log without abilities remembers only the channels of which it holds an entry.
pub(super) struct Channels {
    pub(super) abilities: Abilities,
    remembered: usize,
    known: HashMap<ChannelName, Known>,
    /// The largest number of an entry of a channel when that channel was forgotten.
    forgotten: u64,
}

/// A channel that the log remembers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    /// The number of its newest entry.
    pub(super) newest: u64,
    /// The record of its end.
    pub(super) end: Option<usize>,
    /// The log knows which of its entries after this number were removed, and nothing of earlier ones.
    pub(super) since: u64,
}

impl Channels {
    pub(super) fn new(abilities: Abilities, remembered: u64) -> Self {
        Self {
            abilities,
            remembered: usize::try_from(remembered).unwrap(),
            known: HashMap::new(),
            forgotten: 0,
        }
    }

    pub(super) fn get(&self, channel: &ChannelName) -> Option<Known> {
        self.known.get(channel).copied()
    }

    /// Records an entry. `end`: the record, if it ends its channel.
    pub(super) fn handle_entry(&mut self, channel: &ChannelName, seq: u64, end: Option<usize>) {
        let new = Known {
            newest: seq,
            end: None,
            since: self.forgotten,
        };
        let known = self.known.entry(channel.clone()).or_insert(new);
        known.newest = seq;
        if end.is_some() {
            known.end = end;
        }
    }

    /// Records a rewind to `last`. `newest`: the number of a channel's newest entry afterwards.
    pub(super) fn handle_rewind(
        &mut self,
        last: u64,
        newest: impl Fn(&ChannelName) -> Option<u64>,
        is_lost: impl Fn(usize) -> bool,
    ) {
        self.known.retain(|channel, known| {
            if known.newest <= last {
                return true;
            }
            known.end = known.end.filter(|&end| !is_lost(end));
            let newest = newest(channel).filter(|&newest| newest > known.since);
            known.newest = newest.unwrap_or_default();
            newest.is_some()
        });
    }

    /// Forgets channels, after the log has removed the entries before `first` or lost its newest ones.
    /// Returns the records of the ends that are forgotten.
    pub(super) fn forget(&mut self, first: u64) -> Vec<usize> {
        let mut forgotten = Vec::new();
        let abilities = self.abilities;
        for (has_ended, is_remembered) in [
            (true, abilities.remembers_ends),
            (false, abilities.loss_by_channel),
        ] {
            let limit = if is_remembered { self.remembered } else { 0 };
            let known = self.known.iter();
            let gone =
                known.filter(|(_, known)| known.newest < first && known.end.is_some() == has_ended);
            let mut gone: Vec<_> = gone
                .map(|(name, known)| (known.newest, name.clone()))
                .collect();
            gone.sort_unstable_by_key(|gone| Reverse(gone.0));
            for (newest, name) in gone.drain(limit.min(gone.len())..) {
                self.forgotten = self.forgotten.max(newest);
                forgotten.extend(self.known.remove(&name).and_then(|known| known.end));
            }
        }
        forgotten
    }

    /// The log knows which entries of this channel after the returned number were removed.
    pub(super) fn known_since(&self, channel: &ChannelName) -> u64 {
        let known = self.known.get(channel);
        known.map_or(self.forgotten, |known| known.since)
    }

    /// As [`known_since`](Self::known_since), of all channels that match one of the patterns. Any channel
    /// below a name may have been forgotten.
    pub(super) fn all_known_since(&self, patterns: &[Pattern]) -> u64 {
        let since = |pattern: &Pattern| match ChannelName::new(pattern) {
            Ok(channel) => self.known_since(&channel),
            Err(_) => self.forgotten,
        };
        patterns.iter().map(since).max().unwrap_or_default()
    }
}
