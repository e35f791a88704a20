//! Owns `Error`: why the hub did not do what it was asked to.

use std::error::Error as StdError;
use std::fmt;

use tidings_proto::{FeedError, FeedErrorKind};

use crate::{InvalidName, LogError};

/// Why a hub did not do what it was asked to.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Error {
    /// There can be no channel of this name.
    Name(InvalidName),
    /// Events named `gap` and `closed` are the hub's own.
    ReservedEvent,
    /// The event has no data, so that nobody would hear it.
    NoData,
    /// The event is longer than this many bytes, which the hub, or its log, takes.
    TooLarge {
        /// The longest the hub takes, on the wire and without an id, in bytes.
        max: usize,
    },
    /// The key is empty, or longer than 255 bytes.
    InvalidKey,
    /// A subscription is to be to at least one channel, and to this many at most.
    ChannelCount {
        /// How many it may be to.
        max: usize,
    },
    /// The grant does not allow a channel that was asked for, or has expired or been revoked.
    Forbidden,
    /// The channel has ended.
    Ended,
    /// The hub is drained.
    Draining,
    /// There is no tokio runtime in which the hub could read its log.
    NoRuntime,
    /// The log was lost before it said so: the event may be kept or not. A repeat under a key is safe.
    Unconfirmed,
    /// The log failed.
    Log(LogError),
    /// The snapshot could not be made.
    Snapshot(std::sync::Arc<dyn StdError + Send + Sync>),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(_) => f.write_str("there can be no such channel"),
            Self::ReservedEvent => f.write_str("events named gap and closed are the hub's own"),
            Self::NoData => f.write_str("an event without data is heard by nobody"),
            Self::TooLarge { max } => write!(f, "the event is longer than {max} bytes"),
            Self::InvalidKey => f.write_str("a key is 1 to 255 bytes"),
            Self::ChannelCount { max } => {
                write!(f, "a subscription is to 1 to {max} channels")
            }
            Self::Forbidden => f.write_str("the grant does not allow it"),
            Self::Ended => f.write_str("the channel has ended"),
            Self::Draining => f.write_str("the hub is drained"),
            Self::NoRuntime => f.write_str("a hub needs a tokio runtime"),
            Self::Unconfirmed => f.write_str("the event may be kept or not"),
            Self::Log(_) => f.write_str("the log failed"),
            Self::Snapshot(_) => f.write_str("the snapshot could not be made"),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Name(source) => Some(source),
            Self::Log(source) => Some(source),
            Self::Snapshot(source) => Some(&**source),
            _ => None,
        }
    }
}

impl From<InvalidName> for Error {
    fn from(name: InvalidName) -> Self {
        Self::Name(name)
    }
}

impl From<Error> for FeedError {
    fn from(error: Error) -> Self {
        let kind = match error {
            Error::Name(_) | Error::ChannelCount { .. } => FeedErrorKind::Invalid,
            Error::Forbidden => FeedErrorKind::Forbidden,
            _ => FeedErrorKind::Unavailable,
        };
        Self::new(kind, error)
    }
}
