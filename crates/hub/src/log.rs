//! `Log`: the ordered list of entries that a hub keeps its events in, and what every log must guarantee.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_core::Stream;
use tidings_proto::{Epoch, Position};

use crate::{Abilities, ChannelName, Draft, Entry, Located, LogError, Pattern, Place, Start};

/// How long a log remembers the key of an append: 2 minutes.
///
/// Until then, a repeat of the key returns the number of the first append.
pub const KEY_LIFETIME: Duration = Duration::from_secs(120);

/// The maximum size of a page of [`Log::read`], in bytes of bodies: 256 KiB. A first entry that is
/// larger is a page of its own.
pub const PAGE_BYTES: usize = 256 * 1024;

/// The future that a method of a [`Log`] returns.
pub type LogFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, LogError>> + Send + 'a>>;

/// The stream that [`Log::tail`] returns: new entries, in batches that are never empty. An error is
/// its last item.
pub type Tail = Pin<Box<dyn Stream<Item = Result<Vec<Entry>, LogError>> + Send>>;

/// A totally ordered list of entries, each of one channel. The log may remove its oldest entries, and no
/// others.
///
/// A hub keeps the events of all its channels in one log, and delivers only entries that the log
/// returns through its [`tail`](Self::tail). A log in memory, on disk or on a cluster makes the
/// same guarantees:
///
/// * Entries are numbered without holes. The `seq` of an entry is one more than that of the entry before
///   it, and the first entry has 1.
/// * An entry never changes. `read` and `tail` return the same entry, with the same `time`.
/// * A log that has lost or changed entries, for example after a restore from a backup, shows it: it
///   has another epoch, or it holds an entry with another [check](Entry::check) under a number that was
///   already taken. Each question about entries therefore names the newest [position](Position) that the
///   caller knows, and fails with [`LogErrorKind::Rewound`](crate::LogErrorKind::Rewound) if the log does
///   not hold that entry. If the log has removed the entry by its retention, it counts as held, because
///   nothing is left to compare.
///
/// Not every engine can keep the guarantees that concern single channels. A log declares those that it
/// keeps as its [`Abilities`].
///
/// # A minimal log
/// A log without abilities needs an ordered list, the numbers of the ends that it holds, and:
///
/// * the check of the newest entry that it has removed, so that a client that received exactly that entry
///   resumes without loss;
/// * for `locate` and `read`: verify `scope.newest` and answer from *one* state of the log; ignore later
///   entries; count each removed entry after the start as missed, whatever its channel;
/// * the keys of the last 2 minutes, also of entries that were removed;
/// * a conditional change of the epoch that only one caller wins.
///
/// Declare [`Abilities::NONE`]. The repository's test crate has a suite for logs.
pub trait Log: Send + Sync + 'static {
    /// Returns the guarantees for single channels that the log keeps. They never change.
    fn abilities(&self) -> Abilities;

    /// Returns the entries that the log holds now, as a range.
    fn bounds(&self) -> LogFuture<'_, Bounds>;

    /// Returns the channels that have ended, each with the number of its first end.
    ///
    /// With [`Abilities::remembers_ends`], an end that the retention has removed is still among them, until
    /// it is forgotten; see [`Retention::remembered_channels`](crate::Retention::remembered_channels).
    /// Ends are forgotten in their order. A new epoch forgets none.
    fn ends(&self) -> LogFuture<'_, Vec<(ChannelName, u64)>>;

    /// Returns a channel of which the log holds an entry or remembers the end; `None` for any other
    /// channel.
    fn channel<'a>(&'a self, name: &'a ChannelName) -> LogFuture<'a, Option<StoredChannel>>;

    /// Returns the channels that [`channel`](Self::channel) returns, in the order of the bytes of their
    /// names: the first `limit` of them after the name `after`, or from the first name. A `limit` of 0
    /// counts as 1. Only a page without channels means that none follows.
    fn channels<'a>(
        &'a self,
        after: Option<&'a ChannelName>,
        limit: usize,
    ) -> LogFuture<'a, Vec<StoredChannel>>;

    /// Appends an entry. The future is ready when the entry is stored.
    ///
    /// The log assigns the number during the call, not when the future is polled: entries of
    /// consecutive calls are in the order of the calls, unless one of them fails. A repeat of a
    /// channel's key within [`KEY_LIFETIME`] appends nothing and returns the number of the first
    /// append, also after the end of the channel.
    ///
    /// # Errors
    /// [`LogErrorKind::TooLarge`](crate::LogErrorKind::TooLarge),
    /// [`Refused`](crate::LogErrorKind::Refused) and [`Lost`](crate::LogErrorKind::Lost). With
    /// [`Abilities::refuses_after_end`] also [`Ended`](crate::LogErrorKind::Ended), if the channel's end
    /// precedes the entry in the order of the log, and the log has not forgotten the end. After `Lost`, the
    /// entry may be stored or not.
    ///
    /// # Cancel safety
    /// If the future is dropped before it is ready, the entry may be stored or not.
    fn append(&self, draft: Draft) -> LogFuture<'_, Appended>;

    /// Finds the place from which a subscriber of the channels in `scope` reads on, and returns how many of
    /// their events it misses at most because the retention has removed them. An entry after `scope.newest`
    /// does not count.
    ///
    /// With [`Abilities::loss_by_channel`], it misses none unless an event of one of *these* channels was
    /// removed, or the log has [forgotten](crate::Retention::remembered_channels) whether. Otherwise it may
    /// count events of other channels.
    ///
    /// # Errors
    /// [`LogErrorKind::Rewound`](crate::LogErrorKind::Rewound) if the log does not hold `scope.newest`.
    fn locate<'a>(&'a self, start: Start, scope: Scope<'a>) -> LogFuture<'a, Located>;

    /// Reads the entries of the channels in `scope` after the number `after`, up to and including
    /// `scope.newest`.
    ///
    /// Returns the oldest ones: at most `limit` of them, and at most [`PAGE_BYTES`]. A `limit` of 0 counts
    /// as 1, so every page makes progress. A read of named channels takes time in proportion to their
    /// entries, not to the log; a read for a pattern may search the log. The repository's suite for logs does
    /// not measure this.
    ///
    /// # Errors
    /// [`LogErrorKind::Trimmed`](crate::LogErrorKind::Trimmed) if a subscriber that has received everything
    /// up to `after` misses events, as [`locate`](Self::locate) counts them.
    /// [`Rewound`](crate::LogErrorKind::Rewound) if the log does not hold `scope.newest`.
    fn read<'a>(&'a self, after: u64, limit: usize, scope: Scope<'a>) -> LogFuture<'a, Page>;

    /// Returns all entries after this position: first the stored ones, then new ones as they are appended.
    ///
    /// # Errors
    /// The stream fails with [`LogErrorKind::Rewound`](crate::LogErrorKind::Rewound) if the log does not
    /// hold the entry at the position, or loses entries that the stream has returned;
    /// [`Trimmed`](crate::LogErrorKind::Trimmed) if the next entry was removed, of whatever channel; and
    /// [`Lost`](crate::LogErrorKind::Lost) if it cannot continue, for example because the epoch has
    /// changed.
    fn tail(&self, after: &Position) -> Tail;

    /// Changes the epoch if it is `expected`. Returns the epoch that the log has afterwards.
    ///
    /// A hub calls this when it finds that the log has lost or changed entries. If several hubs call it
    /// at once, only one of them changes the epoch.
    fn renew_epoch<'a>(&'a self, expected: &'a Epoch) -> LogFuture<'a, Epoch>;
}

impl<L: Log + ?Sized> Log for Arc<L> {
    fn abilities(&self) -> Abilities {
        (**self).abilities()
    }

    fn bounds(&self) -> LogFuture<'_, Bounds> {
        (**self).bounds()
    }

    fn ends(&self) -> LogFuture<'_, Vec<(ChannelName, u64)>> {
        (**self).ends()
    }

    fn channel<'a>(&'a self, name: &'a ChannelName) -> LogFuture<'a, Option<StoredChannel>> {
        (**self).channel(name)
    }

    fn channels<'a>(
        &'a self,
        after: Option<&'a ChannelName>,
        limit: usize,
    ) -> LogFuture<'a, Vec<StoredChannel>> {
        (**self).channels(after, limit)
    }

    fn append(&self, draft: Draft) -> LogFuture<'_, Appended> {
        (**self).append(draft)
    }

    fn locate<'a>(&'a self, start: Start, scope: Scope<'a>) -> LogFuture<'a, Located> {
        (**self).locate(start, scope)
    }

    fn read<'a>(&'a self, after: u64, limit: usize, scope: Scope<'a>) -> LogFuture<'a, Page> {
        (**self).read(after, limit, scope)
    }

    fn tail(&self, after: &Position) -> Tail {
        (**self).tail(after)
    }

    fn renew_epoch<'a>(&'a self, expected: &'a Epoch) -> LogFuture<'a, Epoch> {
        (**self).renew_epoch(expected)
    }
}

/// The scope of a question to a log: the channels, and the newest position that the caller knows.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Scope<'a> {
    /// The patterns of the channels. Empty: all channels.
    pub patterns: &'a [Pattern],
    /// The newest position that the caller knows. The log answers only if it holds that entry, or has
    /// removed it by its retention. No later entry counts, except that a removed one may.
    ///
    /// If the log was rewound and has grown and removed entries beyond this position since, nothing is left
    /// that shows it. A caller must therefore ask often enough: a hub looks at its log every 5 s.
    pub newest: &'a Position,
}

impl<'a> Scope<'a> {
    /// The entries up to `newest` of the channels that match one of the patterns.
    #[must_use]
    pub fn new(patterns: &'a [Pattern], newest: &'a Position) -> Self {
        Self { patterns, newest }
    }

    /// The entries up to `newest` of all channels.
    #[must_use]
    pub fn all(newest: &'a Position) -> Self {
        Self::new(&[], newest)
    }

    /// Whether the scope includes this channel.
    #[must_use]
    pub fn covers(&self, channel: &ChannelName) -> bool {
        self.patterns.is_empty() || self.patterns.iter().any(|p| p.matches(channel))
    }
}

/// The entries that a log holds: those after `floor`, up to and including `last`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bounds {
    /// The epoch of the log.
    pub epoch: Epoch,
    /// The place before the oldest entry: [`Place::start`], or that of the newest entry that was removed.
    pub floor: Place,
    /// The place of the newest entry. If it is `floor`, the log holds no entry.
    pub last: Place,
    /// The log has forgotten no [end](Log::ends) with this number or a larger one. It never decreases, and is
    /// at most `floor.seq + 1`. A log without [`Abilities::remembers_ends`] returns `floor.seq + 1`.
    pub ends_since: u64,
}

impl Bounds {
    /// The bounds of a log; see the [fields](Self) for their meaning.
    #[must_use]
    pub fn new(epoch: Epoch, floor: Place, last: Place, ends_since: u64) -> Self {
        Self {
            epoch,
            floor,
            last,
            ends_since,
        }
    }

    /// The position of the newest entry.
    #[must_use]
    pub fn newest(&self) -> Position {
        self.last.in_epoch(&self.epoch)
    }
}

/// A channel as a log stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredChannel {
    /// The name.
    pub name: ChannelName,
    /// The position of its newest event; `None` if the log holds none of its events.
    pub newest: Option<Position>,
    /// The number of its end, if it has ended.
    pub end: Option<u64>,
}

impl StoredChannel {
    /// A channel; see the [fields](Self) for their meaning.
    #[must_use]
    pub fn new(name: ChannelName, newest: Option<Position>, end: Option<u64>) -> Self {
        Self { name, newest, end }
    }
}

/// The number of an entry that was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Appended {
    /// The number.
    pub seq: u64,
    /// Whether an earlier append under the same key has stored the entry.
    pub is_repeat: bool,
}

impl Appended {
    /// A new entry was stored under this number.
    #[must_use]
    pub fn new(seq: u64) -> Self {
        let is_repeat = false;
        Self { seq, is_repeat }
    }

    /// Nothing was stored: an earlier append under the same key stored its entry under this number.
    #[must_use]
    pub fn repeat(seq: u64) -> Self {
        let is_repeat = true;
        Self { seq, is_repeat }
    }
}

/// The entries that [`Log::read`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page {
    /// The entries, in order.
    pub entries: Vec<Entry>,
    /// The number of the last entry that the read has covered; the next read continues after it. It is
    /// larger than `after`, unless `after` is not before the newest entry of the scope.
    pub through: u64,
}

impl Page {
    /// A page of these entries that covers all entries up to `through`.
    #[must_use]
    pub fn new(entries: Vec<Entry>, through: u64) -> Self {
        Self { entries, through }
    }
}
