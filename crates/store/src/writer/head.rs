//! `Head`: the small part of what the writer knows, which each transaction changes.

use tidings_hub::Place;

use super::sweep::Cursor;
use crate::channel_row::ChannelId;
use crate::state_row::StoreState;

/// A transaction changes a copy, which replaces the original after the commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) state: StoreState,
    pub(super) last: Newest,
    /// The number of the next new channel.
    pub(super) next_channel: ChannelId,
    /// How many channels without entries are remembered: without an end, and with one.
    pub(super) gone: [u64; 2],
    /// The table `entries` has no row before this number.
    pub(super) first_row: u64,
    /// How far the sweep in progress is.
    pub(super) cursor: Cursor,
}

/// The newest entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Newest {
    pub(super) place: Place,
    pub(super) time: u64,
    /// The cost of all entries up to it.
    pub(super) total: u64,
}

impl Head {
    pub(super) fn last(&self) -> u64 {
        self.last.place.seq
    }

    pub(super) fn floor(&self) -> u64 {
        self.state.floor.place.seq
    }

    /// How many entries the log holds.
    pub(super) fn held(&self) -> u64 {
        self.last() - self.floor()
    }

    /// How many entries were removed that no finished sweep has seen.
    pub(super) fn unswept(&self) -> u64 {
        self.floor() - self.state.swept
    }

    /// Whether rows of removed entries are left.
    pub(super) fn has_waste(&self) -> bool {
        self.first_row <= self.state.swept
    }
}
