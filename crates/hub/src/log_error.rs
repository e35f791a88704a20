//! `LogError`: why a log failed.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The error of a [`Log`](crate::Log).
#[derive(Debug, Clone)]
pub struct LogError {
    kind: LogErrorKind,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// The kind of a [`LogError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LogErrorKind {
    /// The log has removed entries that were requested.
    Trimmed {
        /// The number of the oldest entry that it still holds.
        first: u64,
    },
    /// The log does not hold the entry at the position that was named: it has lost entries, or has
    /// another epoch.
    Rewound {
        /// The number of the newest entry.
        last: u64,
    },
    /// The channel has ended. The entry was not appended.
    Ended,
    /// The log does not accept an entry of this size.
    TooLarge,
    /// The log accepts no entry at the moment. The entry was not appended.
    Refused,
    /// The log did not respond within the hub's [`log_timeout`](crate::HubBuilder::log_timeout). An entry
    /// that it was asked to append may be stored or not.
    Silent,
    /// The log cannot be reached, or is damaged.
    Lost,
}

impl LogError {
    /// Requested entries were removed; `first` is the number of the oldest entry that is left.
    #[must_use]
    pub fn trimmed(first: u64) -> Self {
        Self::of(LogErrorKind::Trimmed { first })
    }

    /// The log does not hold the entry at the position; `last` is the number of the newest entry.
    #[must_use]
    pub fn rewound(last: u64) -> Self {
        Self::of(LogErrorKind::Rewound { last })
    }

    /// The channel has ended, and the entry was not appended.
    #[must_use]
    pub fn ended() -> Self {
        Self::of(LogErrorKind::Ended)
    }

    /// The log does not accept an entry of this size.
    #[must_use]
    pub fn too_large() -> Self {
        Self::of(LogErrorKind::TooLarge)
    }

    /// The log accepts no entry at the moment, for this reason. The entry must not have been appended.
    #[must_use]
    pub fn refused(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::with_source(LogErrorKind::Refused, source.into())
    }

    /// The log did not respond within this time.
    pub(crate) fn silent(limit: Duration) -> Self {
        Self::with_source(LogErrorKind::Silent, Box::new(NoAnswer(limit)))
    }

    /// The log cannot be reached or is damaged, for this reason.
    #[must_use]
    pub fn lost(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::with_source(LogErrorKind::Lost, source.into())
    }

    /// What failed.
    #[must_use]
    pub fn kind(&self) -> LogErrorKind {
        self.kind
    }

    fn of(kind: LogErrorKind) -> Self {
        Self { kind, source: None }
    }

    fn with_source(kind: LogErrorKind, source: Box<dyn StdError + Send + Sync>) -> Self {
        let source = Some(Arc::from(source));
        Self { kind, source }
    }
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            LogErrorKind::Trimmed { first } => {
                write!(f, "entries were removed: the log begins at {first}")
            }
            LogErrorKind::Rewound { last } => {
                write!(
                    f,
                    "the log does not hold the named entry: its newest entry is {last}"
                )
            }
            LogErrorKind::Ended => f.write_str("the channel has ended"),
            LogErrorKind::TooLarge => f.write_str("the entry is larger than the log accepts"),
            LogErrorKind::Refused => f.write_str("the log accepts no entry at the moment"),
            LogErrorKind::Silent => f.write_str("the log does not respond"),
            LogErrorKind::Lost => f.write_str("the log cannot be reached or is damaged"),
        }
    }
}

impl StdError for LogError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        let source = self.source.as_deref()?;
        Some(source)
    }
}

/// How long the log was awaited.
#[derive(Debug)]
struct NoAnswer(Duration);

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there was no answer within {:?}", self.0)
    }
}

impl StdError for NoAnswer {}
