//! `Abilities`: the guarantees for single channels that a log keeps.

/// The guarantees for single channels that a [`Log`](crate::Log) keeps. Not every engine can keep all of
/// them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Abilities {
    /// The log knows of which channels its retention has removed events. Without it, a subscriber that has
    /// not received a removed entry receives a gap, even if the entry is of another channel.
    ///
    /// The log may judge a pattern that selects more than 8,192 channels by all its channels.
    pub loss_by_channel: bool,
    /// The log refuses an event or a second end that follows the end of its channel. Without it, the log
    /// stores such an entry, and hubs that know of the end deliver it to nobody.
    pub refuses_after_end: bool,
    /// The log remembers the end of a channel after its retention has removed it. Without it, the name is
    /// then free for a new channel, and a client that asks for the old one waits for events.
    pub remembers_ends: bool,
}

impl Abilities {
    /// Every guarantee. [`MemoryLog`](crate::MemoryLog) keeps them all.
    pub const ALL: Self = Self {
        loss_by_channel: true,
        refuses_after_end: true,
        remembers_ends: true,
    };
    /// No guarantee for single channels.
    pub const NONE: Self = Self {
        loss_by_channel: false,
        refuses_after_end: false,
        remembers_ends: false,
    };

    /// Sets [`loss_by_channel`](Self::loss_by_channel).
    #[must_use]
    pub const fn loss_by_channel(mut self, is_kept: bool) -> Self {
        self.loss_by_channel = is_kept;
        self
    }

    /// Sets [`refuses_after_end`](Self::refuses_after_end).
    #[must_use]
    pub const fn refuses_after_end(mut self, is_kept: bool) -> Self {
        self.refuses_after_end = is_kept;
        self
    }

    /// Sets [`remembers_ends`](Self::remembers_ends).
    #[must_use]
    pub const fn remembers_ends(mut self, is_kept: bool) -> Self {
        self.remembers_ends = is_kept;
        self
    }
}
