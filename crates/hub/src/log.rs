//! Owns `Log`: the ground state of a hub, and what every log promises.

use std::error::Error as StdError;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_core::Stream;
use tidings_proto::{EntryCheck, Epoch};

use crate::{ChannelName, Draft, Entry, Pattern};

/// How long a log remembers the key of an append, so that a repeat answers with the first place.
pub const KEY_LIFETIME: Duration = Duration::from_secs(120);

/// How many bytes of bodies a page of [`Log::read`] holds at most, unless its first entry is larger.
pub const PAGE_BYTES: usize = 256 * 1024;

/// What a method of a [`Log`] returns.
pub type LogFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, LogError>> + Send + 'a>>;

/// What [`Log::tail`] returns: entries as they come, in batches that are not empty. An error is its
/// last item.
pub type Tail = Pin<Box<dyn Stream<Item = Result<Vec<Entry>, LogError>> + Send>>;

/// One totally ordered list of entries, of which the oldest may be forgotten.
///
/// A hub keeps its events in one, and delivers only what comes back through its
/// [`tail`](Self::tail). Whatever keeps it, in memory, on disk or elsewhere, means the same; the suite
/// that each of them passes is the law.
///
/// * Places are contiguous: an entry's `seq` is one more than that of the entry before, the first of all
///   is 1, and none is removed but the oldest.
/// * An entry never changes: it reads the same by `read` and by `tail`, its `time` too.
/// * A log that may not be the continuation of what it was has another epoch, or is found out by the
///   check of an entry that was promised.
pub trait Log: Send + Sync + 'static {
    /// What it holds now.
    fn bounds(&self) -> LogFuture<'_, Bounds>;

    /// The channels that have ended, and where: those whose end was not forgotten yet.
    fn ends(&self) -> LogFuture<'_, Vec<(ChannelName, u64)>>;

    /// Appends an entry; ready once it is kept.
    ///
    /// Its place is taken when this is called, not when the future is polled: entries appended one call
    /// after the other stand in that order, if none of them fails. A repeat of a channel's key within
    /// [`KEY_LIFETIME`] appends nothing and answers with the first place.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, the entry may be kept or not.
    fn append(&self, draft: Draft) -> LogFuture<'_, Appended>;

    /// The entries behind `after`, up to and with `up_to`, of the channels that one of the patterns
    /// means, of all channels if there is none: at most `limit` of them, and
    /// [`PAGE_BYTES`], and the oldest. A limit of 0
    /// is taken as 1, so that every page leads on.
    ///
    /// [`LogError::Trimmed`] if the entry behind `after` was forgotten, [`LogError::Rewound`] if
    /// `after` lies past the end.
    fn read<'a>(
        &'a self,
        after: u64,
        up_to: u64,
        patterns: &'a [Pattern],
        limit: usize,
    ) -> LogFuture<'a, Page>;

    /// All entries behind `after`, those there are and then those that come.
    ///
    /// It fails as [`read`](Self::read) does, and with [`LogError::Lost`] when it cannot go on.
    fn tail(&self, after: u64) -> Tail;

    /// Takes a new epoch if its epoch is this one; answers with the one it has then.
    ///
    /// For a hub that has found the log to be no continuation of what it was. Of several that find
    /// it at once one changes it.
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

/// What a log holds: the entries from `first` to `last`; none if `last` is `first - 1`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "every log knows these")]
pub struct Bounds {
    /// Which life of the log this is.
    pub epoch: Epoch,
    /// The place of the oldest entry it holds, or would hold.
    pub first: u64,
    /// The place of the newest entry it took; 0 if it never took any.
    pub last: u64,
    /// The check of the entry before `first`, so that who has heard it resumes whole; `None` while
    /// `first` is 1.
    pub floor: Option<EntryCheck>,
}

/// Where an entry was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "every log knows these")]
pub struct Appended {
    /// Its place.
    pub seq: u64,
    /// Whether it stood there already, under the same key.
    pub is_repeat: bool,
}

/// What [`Log::read`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "every log knows these")]
pub struct Page {
    /// The entries, in order.
    pub entries: Vec<Entry>,
    /// There is nothing more to find up to here: where the next read goes on. More than `after` if
    /// `up_to` and the end of the log are.
    pub through: u64,
}

/// Why a log did not do what it was asked to.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum LogError {
    /// What was asked for was forgotten: the oldest entry is this one now.
    Trimmed {
        /// The place of the oldest entry.
        first: u64,
    },
    /// What was asked for lies past the end.
    Rewound {
        /// The place of the newest entry.
        last: u64,
    },
    /// The entry is larger than the log takes.
    TooLarge,
    /// The log takes no entry now.
    Refused(Arc<dyn StdError + Send + Sync>),
    /// The log is not to be reached, or broken.
    Lost(Arc<dyn StdError + Send + Sync>),
}

/// The log is lost for a reason that we saw ourselves.
pub(crate) fn lost(reason: impl Into<String>) -> LogError {
    LogError::Lost(Arc::from(Box::from(reason.into())))
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trimmed { first } => write!(f, "the log begins at {first} now"),
            Self::Rewound { last } => write!(f, "the log ends at {last}"),
            Self::TooLarge => f.write_str("the entry is larger than the log takes"),
            Self::Refused(_) => f.write_str("the log takes no entry now"),
            Self::Lost(_) => f.write_str("the log is lost"),
        }
    }
}

impl StdError for LogError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Refused(source) | Self::Lost(source) => Some(&**source),
            Self::Trimmed { .. } | Self::Rewound { .. } | Self::TooLarge => None,
        }
    }
}
