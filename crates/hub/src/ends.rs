//! Owns `Ends`: which channels have ended, and which entries stand behind an end.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::{ChannelName, Entry, EntryKind};

/// The channels that have ended, and whose end is not forgotten.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    by_channel: HashMap<ChannelName, u64>,
    by_seq: BTreeMap<u64, ChannelName>,
    /// Events that stood behind an end when they came, so that they stay unheard when that end is
    /// forgotten.
    skipped: BTreeSet<u64>,
}

impl Ends {
    pub(crate) fn new(ends: impl IntoIterator<Item = (ChannelName, u64)>) -> Self {
        let mut this = Self::default();
        for (channel, seq) in ends {
            this.insert(channel, seq);
        }
        this
    }

    pub(crate) fn insert(&mut self, channel: ChannelName, seq: u64) {
        self.by_seq.insert(seq, channel.clone());
        self.by_channel.insert(channel, seq);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_channel.is_empty()
    }

    /// Where this channel has ended.
    pub(crate) fn of(&self, channel: &ChannelName) -> Option<u64> {
        self.by_channel.get(channel).copied()
    }

    pub(crate) fn skip(&mut self, seq: u64) {
        self.skipped.insert(seq);
    }

    /// Whether nobody hears this entry: an end, or an event behind its channel's end.
    pub(crate) fn hides(&self, entry: &Entry) -> bool {
        entry.kind == EntryKind::End
            || self.of(&entry.channel).is_some_and(|end| end < entry.seq)
            || self.skipped.contains(&entry.seq)
    }

    /// The log has forgotten what stands before `first`; returns the channels that may begin anew.
    pub(crate) fn forget(&mut self, first: u64) -> Vec<ChannelName> {
        self.skipped = self.skipped.split_off(&first);
        let kept = self.by_seq.split_off(&first);
        let forgotten = std::mem::replace(&mut self.by_seq, kept);
        let channels: Vec<_> = forgotten.into_values().collect();
        for channel in &channels {
            self.by_channel.remove(channel);
        }
        channels
    }
}
