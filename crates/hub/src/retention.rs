//! Owns `Retention`: how much a log keeps.

use std::time::Duration;

const MIB: u64 = 1 << 20;

/// How much a log keeps. What is over any of the limits is removed, the oldest first.
///
/// The newest entry always stays, so that there is one to resume from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retention {
    /// Bytes, as [`Entry::cost`](crate::Entry::cost) counts them.
    pub max_bytes: u64,
    /// Entries.
    pub max_events: u64,
    /// Time since the log took them; `None` is no limit.
    pub max_age: Option<Duration>,
}

impl Retention {
    /// What a log in memory keeps by default: 256 MiB, 1,000,000 entries, of any age.
    #[must_use]
    pub const fn in_memory() -> Self {
        Self {
            max_bytes: 256 * MIB,
            max_events: 1_000_000,
            max_age: None,
        }
    }

    /// What a log on disk or elsewhere keeps by default: 1 GiB, 10,000,000 entries, 7 days.
    #[must_use]
    pub const fn durable() -> Self {
        Self {
            max_bytes: 1024 * MIB,
            max_events: 10_000_000,
            max_age: Some(Duration::from_secs(7 * 24 * 3600)),
        }
    }

    /// Keeps at most this many bytes, as [`Entry::cost`](crate::Entry::cost) counts them.
    #[must_use]
    pub const fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Keeps at most this many entries.
    #[must_use]
    pub const fn max_events(mut self, events: u64) -> Self {
        self.max_events = events;
        self
    }

    /// Keeps what is not older than this; `None` is no limit.
    #[must_use]
    pub const fn max_age(mut self, age: Option<Duration>) -> Self {
        self.max_age = age;
        self
    }
}
