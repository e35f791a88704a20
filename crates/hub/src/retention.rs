//! `Retention`: how many events a log keeps, and for how long.

use std::time::Duration;

const MIB: u64 = 1 << 20;

/// How many events a log keeps, and for how long.
///
/// When a limit is exceeded, the log removes its oldest entries. It never removes the newest entry. A
/// client that resumes receives a `gap` event if events of its channels were removed that it has not
/// received.
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
    pub max_events: Option<u64>,
    /// See [`max_age`](Self::max_age).
    pub max_age: Option<Duration>,
    /// See [`remembered_channels`](Self::remembered_channels).
    pub remembered_channels: u64,
}

impl Retention {
    /// The default of a log in memory: 256 MiB, any number of entries, any age.
    #[must_use]
    pub const fn in_memory() -> Self {
        Self {
            max_bytes: 256 * MIB,
            max_events: None,
            max_age: None,
            remembered_channels: 100_000,
        }
    }

    /// The default of a durable log: 1 GiB, any number of entries, 7 days.
    #[must_use]
    pub const fn durable() -> Self {
        Self {
            max_bytes: 1024 * MIB,
            max_events: None,
            max_age: Some(Duration::from_secs(7 * 24 * 3600)),
            remembered_channels: 100_000,
        }
    }

    /// Sets the maximum size of all entries together, in bytes as
    /// [`Entry::cost`](crate::Entry::cost) counts them. A log in memory adds 256 for each channel that has
    /// entries, for its index. Default: 256 MiB in memory, 1 GiB if durable.
    #[must_use]
    pub const fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Sets the maximum number of entries; `None` is no limit. Default: `None`.
    #[must_use]
    pub const fn max_events(mut self, events: Option<u64>) -> Self {
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

    /// Sets how many channels without entries the log remembers: this number of ended ones, and as many
    /// others. Default: 100,000.
    ///
    /// At the limit, the log forgets the channel whose last entry is the oldest, and its name is free again.
    /// A client whose ID is older than that entry may then receive a `gap` although it misses nothing. In
    /// memory, a remembered channel takes about 250 bytes and its name, which
    /// [`max_bytes`](Self::max_bytes) does not count: about 60 MB by default.
    #[must_use]
    pub const fn remembered_channels(mut self, channels: u64) -> Self {
        self.remembered_channels = channels;
        self
    }
}
