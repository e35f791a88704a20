//! `Retention`: how many events a log keeps, and for how long.

use std::time::Duration;

const MIB: u64 = 1 << 20;

/// How many events a log keeps, and for how long.
///
/// When a limit is exceeded, the log removes its oldest entries. It never removes the newest entry,
/// so clients can always resume from it. A client that resumes after an entry that was removed
/// receives a `gap` event.
///
/// ```
/// use std::time::Duration;
/// use tidings_hub::{Hub, Retention};
///
/// let day = Duration::from_secs(24 * 3600);
/// let hub = Hub::builder().in_memory(Retention::in_memory().max_age(Some(day)));
/// # drop(hub);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retention {
    /// See [`max_bytes`](Self::max_bytes).
    pub max_bytes: u64,
    /// See [`max_events`](Self::max_events).
    pub max_events: u64,
    /// See [`max_age`](Self::max_age).
    pub max_age: Option<Duration>,
}

impl Retention {
    /// The default of a log in memory: 256 MiB, 1,000,000 entries, any age.
    #[must_use]
    pub const fn in_memory() -> Self {
        Self {
            max_bytes: 256 * MIB,
            max_events: 1_000_000,
            max_age: None,
        }
    }

    /// The default of a durable log: 1 GiB, 10,000,000 entries, 7 days.
    #[must_use]
    pub const fn durable() -> Self {
        Self {
            max_bytes: 1024 * MIB,
            max_events: 10_000_000,
            max_age: Some(Duration::from_secs(7 * 24 * 3600)),
        }
    }

    /// Sets the maximum size of all entries together, in bytes as
    /// [`Entry::cost`](crate::Entry::cost) counts them. Default: 256 MiB in memory, 1 GiB if
    /// durable.
    #[must_use]
    pub const fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Sets the maximum number of entries. Default: 1,000,000 in memory, 10,000,000 if durable.
    #[must_use]
    pub const fn max_events(mut self, events: u64) -> Self {
        self.max_events = events;
        self
    }

    /// Sets the maximum age of an entry, counted from when the log stored it; `None` is no limit.
    /// Default: `None` in memory, 7 days if durable.
    #[must_use]
    pub const fn max_age(mut self, age: Option<Duration>) -> Self {
        self.max_age = age;
        self
    }
}
