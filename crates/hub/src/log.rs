//! `Log`: the ordered list of entries that a hub keeps its events in, and what every log must guarantee.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_core::Stream;
use tidings_proto::{EntryCheck, Epoch};

use crate::{ChannelName, Draft, Entry, LogError, Pattern};

/// How long a log remembers the key of an append: 2 minutes.
///
/// Until then, a repeat of the key returns the place of the first append.
pub const KEY_LIFETIME: Duration = Duration::from_secs(120);

/// The maximum size of a page of [`Log::read`], in bytes of bodies: 256 KiB. A first entry that is
/// larger is a page of its own.
pub const PAGE_BYTES: usize = 256 * 1024;

/// The future that a method of a [`Log`] returns.
pub type LogFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, LogError>> + Send + 'a>>;

/// The stream that [`Log::tail`] returns: new entries, in batches that are never empty. An error is
/// its last item.
pub type Tail = Pin<Box<dyn Stream<Item = Result<Vec<Entry>, LogError>> + Send>>;

/// A totally ordered list of entries. The log may remove its oldest entries, and no others.
///
/// A hub keeps the events of all its channels in one log, and delivers only entries that the log
/// returns through its [`tail`](Self::tail). A log in memory, on disk or on a cluster makes the
/// same guarantees:
///
/// * Places are contiguous. The `seq` of an entry is one more than that of the entry before it, and
///   the first entry has 1.
/// * An entry never changes. `read` and `tail` return the same entry, with the same `time`.
/// * An entry that the log stores while it holds an end of the channel is [late](Entry::is_late), for
///   ever. So hubs that follow the log and hubs that begin later hide the same entries, even if the log has
///   removed that end since.
/// * A log that has lost or changed entries, for example after a restore from a backup, shows it: it
///   has another epoch, or it returns an entry with another [check](Entry::check) at a place that was
///   already taken.
pub trait Log: Send + Sync + 'static {
    /// Returns the entries that the log holds now, as a range.
    fn bounds(&self) -> LogFuture<'_, Bounds>;

    /// Returns the channels that have ended, each with the place of its end. An end that the log
    /// has removed is not among them, and neither is a [late](Entry::is_late) one.
    fn ends(&self) -> LogFuture<'_, Vec<(ChannelName, u64)>>;

    /// Appends an entry. The future is ready when the entry is stored.
    ///
    /// The log assigns the place during the call, not when the future is polled: entries of
    /// consecutive calls are in the order of the calls, unless one of them fails. A repeat of a
    /// channel's key within [`KEY_LIFETIME`] appends nothing and returns the place of the first
    /// append. The log forgets the key of a [late](Entry::is_late) entry, which nobody receives.
    ///
    /// # Errors
    /// [`LogErrorKind::TooLarge`](crate::LogErrorKind::TooLarge),
    /// [`Refused`](crate::LogErrorKind::Refused) and [`Lost`](crate::LogErrorKind::Lost). After
    /// `Lost`, the entry may be stored or not.
    ///
    /// # Cancel safety
    /// If the future is dropped before it is ready, the entry may be stored or not.
    fn append(&self, draft: Draft) -> LogFuture<'_, Appended>;

    /// Reads entries after the place `after`, up to and including `up_to`.
    ///
    /// Returns the oldest ones that match one of the patterns, or all if there is no pattern; at
    /// most `limit` of them and at most [`PAGE_BYTES`]. A `limit` of 0 counts as 1, so every page
    /// makes progress.
    ///
    /// # Errors
    /// [`LogErrorKind::Trimmed`](crate::LogErrorKind::Trimmed) if the entry after `after` was removed,
    /// [`Rewound`](crate::LogErrorKind::Rewound) if `after` is past the end.
    fn read<'a>(
        &'a self,
        after: u64,
        up_to: u64,
        patterns: &'a [Pattern],
        limit: usize,
    ) -> LogFuture<'a, Page>;

    /// Returns all entries after the place `after`: first the stored ones, then new ones as they
    /// are appended.
    ///
    /// # Errors
    /// The stream fails as [`read`](Self::read) does, and with
    /// [`LogErrorKind::Lost`](crate::LogErrorKind::Lost) if it cannot continue, for example because
    /// the epoch has changed.
    fn tail(&self, after: u64) -> Tail;

    /// Changes the epoch if it is `expected`. Returns the epoch that the log has afterwards.
    ///
    /// A hub calls this when it finds that the log has lost or changed entries. If several hubs call it
    /// at once, only one of them changes the epoch.
    fn renew_epoch<'a>(&'a self, expected: &'a Epoch) -> LogFuture<'a, Epoch>;
}

impl<L: Log + ?Sized> Log for Arc<L> {
    fn bounds(&self) -> LogFuture<'_, Bounds> {
        (**self).bounds()
    }

    fn ends(&self) -> LogFuture<'_, Vec<(ChannelName, u64)>> {
        (**self).ends()
    }

    fn append(&self, draft: Draft) -> LogFuture<'_, Appended> {
        (**self).append(draft)
    }

    fn read<'a>(
        &'a self,
        after: u64,
        up_to: u64,
        patterns: &'a [Pattern],
        limit: usize,
    ) -> LogFuture<'a, Page> {
        (**self).read(after, up_to, patterns, limit)
    }

    fn tail(&self, after: u64) -> Tail {
        (**self).tail(after)
    }

    fn renew_epoch<'a>(&'a self, expected: &'a Epoch) -> LogFuture<'a, Epoch> {
        (**self).renew_epoch(expected)
    }
}

/// The entries that a log holds: from `first` to `last`. If `last` is `first - 1`, it holds none.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bounds {
    /// The epoch of the log.
    pub epoch: Epoch,
    /// The place of the oldest entry in the log, or of the next one if the log is empty.
    pub first: u64,
    /// The place of the newest entry that was ever appended; 0 if there was none.
    pub last: u64,
    /// The check of the entry before `first`, so that a client that has received that entry resumes
    /// without a gap. `None` while `first` is 1.
    pub floor: Option<EntryCheck>,
}

impl Bounds {
    /// The bounds of a log; see the [fields](Self) for their meaning.
    #[must_use]
    pub fn new(epoch: Epoch, first: u64, last: u64, floor: Option<EntryCheck>) -> Self {
        Self {
            epoch,
            first,
            last,
            floor,
        }
    }
}

/// The place of an entry that was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Appended {
    /// The place.
    pub seq: u64,
    /// Whether an earlier append under the same key has stored the entry.
    pub is_repeat: bool,
}

impl Appended {
    /// A new entry was stored at this place.
    #[must_use]
    pub fn new(seq: u64) -> Self {
        let is_repeat = false;
        Self { seq, is_repeat }
    }

    /// Nothing was stored: an earlier append under the same key stored its entry at this place.
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
    /// The last place that the read has covered; the next read continues after it. It is larger
    /// than `after` if `up_to` and the end of the log are.
    pub through: u64,
}

impl Page {
    /// A page of these entries that covers all places up to `through`.
    #[must_use]
    pub fn new(entries: Vec<Entry>, through: u64) -> Self {
        Self { entries, through }
    }
}
