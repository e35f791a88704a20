//! `Place`: where an entry is in a log; and `Start` and `Located`, the question and the answer about the
//! place from which a subscriber reads on.

use tidings_proto::{EntryCheck, Epoch, Position};

/// Where an entry is in a log: its number, and its check. With the log's epoch it is a [`Position`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(
    clippy::exhaustive_structs,
    reason = "a position has these parts besides its epoch"
)]
pub struct Place {
    /// The number of the entry.
    pub seq: u64,
    /// The [check](crate::Entry::check) of the entry.
    pub check: EntryCheck,
}

impl Place {
    /// The place before the first entry of every log.
    #[must_use]
    pub fn start() -> Self {
        Self {
            seq: 0,
            check: EntryCheck::from_hash(0),
        }
    }

    /// The position with this place in this epoch.
    #[must_use]
    pub fn in_epoch(self, epoch: &Epoch) -> Position {
        Position {
            epoch: epoch.clone(),
            seq: self.seq,
            check: self.check,
        }
    }
}

impl From<&Position> for Place {
    fn from(position: &Position) -> Self {
        Self {
            seq: position.seq,
            check: position.check,
        }
    }
}

/// Where a subscriber of some channels wants to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(
    clippy::exhaustive_enums,
    reason = "a log must find each kind of start"
)]
pub enum Start {
    /// After this place: the subscriber has received everything up to there.
    After(Place),
    /// With the oldest event that the log holds.
    Earliest,
    /// With the first event that was stored at or after this time, in nanoseconds since 1970.
    Time(u64),
    /// With the newest events of all channels together: at most this number. At least 1.
    Last(usize),
    /// After the number `to`, although the subscriber has received only the entries up to `after`.
    Skip {
        /// The number of the last entry that it has received.
        after: u64,
        /// The number of the last entry that it skips.
        to: u64,
    },
}

/// The place that [`Log::locate`](crate::Log::locate) found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(
    clippy::exhaustive_enums,
    reason = "a log either holds the place or not"
)]
pub enum Located {
    /// The subscriber reads on after this place. If the retention has removed entries that the caller has not
    /// received, the place may be after `scope.newest`.
    ///
    /// | start | `place` | `missed` |
    /// | --- | --- | --- |
    /// | `After` | the same, or the floor of the log if events are missed | removed events after it |
    /// | `Earliest` | the floor | removed events |
    /// | `Time` | that of the entry before the first one of any channel at or after that time, or the floor | removed events of that time and later |
    /// | `Last` | the place before the oldest of these events, but not before the floor; without such events, any place from the floor to `scope.newest` | 0 |
    /// | `Skip` | the earlier one of `to` and `scope.newest`, but not before the floor | the events of the channels after `after`, up to the place |
    Held {
        /// The place.
        place: Place,
        /// How many events the subscriber misses, at most. 0 if it misses none. A channel that the log has
        /// forgotten counts as new for `Earliest` and `Time`: none of its events is missed.
        missed: u64,
    },
    /// Only for [`Start::After`]: the log never held this place in this epoch, or has lost the entry. The
    /// number is larger than that of the newest entry, or another entry has it.
    Unknown {
        /// The number of the newest entry.
        last: u64,
    },
}
