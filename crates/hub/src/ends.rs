//! `Ends`: the channels that have ended, and the entries that no subscriber receives.

use std::collections::hash_map::Entry as Slot;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::{ChannelName, Entry, EntryKind};

/// The channels that have ended, until the log forgets their ends.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    by_channel: HashMap<ChannelName, u64>,
    by_seq: BTreeMap<u64, ChannelName>,
    /// Events that came after their channel's end, from a log that does not refuse them. They stay hidden
    /// when the log forgets that end.
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

    /// Adds the end of a channel. A second one has no effect.
    pub(crate) fn insert(&mut self, channel: ChannelName, seq: u64) {
        if let Slot::Vacant(slot) = self.by_channel.entry(channel) {
            self.by_seq.insert(seq, slot.key().clone());
            slot.insert(seq);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_channel.is_empty()
    }

    /// The `seq` of the channel's end, if it has ended.
    pub(crate) fn end_of(&self, channel: &ChannelName) -> Option<u64> {
        self.by_channel.get(channel).copied()
    }

    /// Hides an event that came after its channel's end.
    pub(crate) fn skip(&mut self, seq: u64) {
        self.skipped.insert(seq);
    }

    /// Whether no subscriber receives this entry: it is an end, or an event after its channel's end.
    pub(crate) fn hides(&self, entry: &Entry) -> bool {
        entry.kind == EntryKind::End
            || self
                .end_of(&entry.channel)
                .is_some_and(|end| end < entry.seq)
            || self.skipped.contains(&entry.seq)
    }

    /// Forgets the entries before `first`, whose ends the log has forgotten. Returns the channels that ended
    /// there: their names are free for new channels.
    pub(crate) fn forget_before(&mut self, first: u64) -> Vec<ChannelName> {
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
