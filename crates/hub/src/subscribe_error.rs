//! `SubscribeError`: why a subscription did not open, or broke.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use tidings_proto::{FeedError, FeedErrorKind};

use crate::grant::Lapse;
use crate::unavailable::Unavailable;
use crate::{InvalidChannelName, InvalidPattern, LogError, Pattern};

/// The error of a [`SubscriptionStream`](crate::SubscriptionStream), and the source of the
/// [`FeedError`] of a [`Subscription`](crate::Subscription).
///
/// A server answers it with the status that its [kind](Self::kind) names.
#[derive(Debug, Clone)]
pub struct SubscribeError(SubscribeFailure);

/// The kind of a [`SubscribeError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SubscribeErrorKind {
    /// The channel name is not valid: 400. The source is an [`InvalidChannelName`].
    InvalidChannelName,
    /// A pattern is not valid: 400. The source is an [`InvalidPattern`].
    InvalidPattern,
    /// The subscription has no channel, or more than the [maximum](crate::HubBuilder::max_channels): 400.
    ChannelCount,
    /// The grant does not cover a requested channel, has expired, or was revoked: 403.
    Forbidden,
    /// The hub is [drained](crate::Hub::drain), and its log has no event that this subscription has not
    /// received: 503.
    Draining,
    /// There is no tokio runtime for the hub's task: 503.
    NoRuntime,
    /// The log cannot be read: 503. The source is a [`LogError`].
    Log,
    /// The closure of [`snapshot`](crate::Subscription::snapshot) failed: 503. The source is its error.
    Snapshot,
}

/// What failed, with the details for the message.
#[derive(Debug, Clone)]
pub(crate) enum SubscribeFailure {
    ChannelName(InvalidChannelName),
    Pattern(InvalidPattern),
    ChannelCount { count: usize, max: usize },
    NotGranted(Pattern),
    GrantLapsed(Lapse),
    Draining,
    NoRuntime,
    Log(LogError),
    Snapshot(Arc<dyn StdError + Send + Sync>),
}

impl SubscribeError {
    /// What failed.
    #[must_use]
    pub fn kind(&self) -> SubscribeErrorKind {
        match &self.0 {
            SubscribeFailure::ChannelName(_) => SubscribeErrorKind::InvalidChannelName,
            SubscribeFailure::Pattern(_) => SubscribeErrorKind::InvalidPattern,
            SubscribeFailure::ChannelCount { .. } => SubscribeErrorKind::ChannelCount,
            SubscribeFailure::NotGranted(_) | SubscribeFailure::GrantLapsed(_) => {
                SubscribeErrorKind::Forbidden
            }
            SubscribeFailure::Draining => SubscribeErrorKind::Draining,
            SubscribeFailure::NoRuntime => SubscribeErrorKind::NoRuntime,
            SubscribeFailure::Log(_) => SubscribeErrorKind::Log,
            SubscribeFailure::Snapshot(_) => SubscribeErrorKind::Snapshot,
        }
    }

    pub(crate) fn log(error: LogError) -> Self {
        Self(SubscribeFailure::Log(error))
    }
}

impl From<SubscribeFailure> for SubscribeError {
    fn from(failure: SubscribeFailure) -> Self {
        Self(failure)
    }
}

impl From<Unavailable> for SubscribeError {
    fn from(error: Unavailable) -> Self {
        Self(match error {
            Unavailable::NoRuntime => SubscribeFailure::NoRuntime,
            Unavailable::Log(error) => SubscribeFailure::Log(error),
        })
    }
}

impl From<SubscribeError> for FeedError {
    fn from(error: SubscribeError) -> Self {
        let kind = match error.kind() {
            SubscribeErrorKind::InvalidChannelName
            | SubscribeErrorKind::InvalidPattern
            | SubscribeErrorKind::ChannelCount => FeedErrorKind::Invalid,
            SubscribeErrorKind::Forbidden => FeedErrorKind::Forbidden,
            SubscribeErrorKind::Draining
            | SubscribeErrorKind::NoRuntime
            | SubscribeErrorKind::Log
            | SubscribeErrorKind::Snapshot => FeedErrorKind::Unavailable,
        };
        Self::new(kind, error)
    }
}

impl fmt::Display for SubscribeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            SubscribeFailure::ChannelName(error) => error.write_summary(f),
            SubscribeFailure::Pattern(error) => error.write_summary(f),
            SubscribeFailure::ChannelCount { count, max } => {
                write!(f, "a subscription needs 1 to {max} channels, not {count}")
            }
            SubscribeFailure::NotGranted(pattern) => {
                write!(f, "the grant does not cover {pattern:?}")
            }
            SubscribeFailure::GrantLapsed(Lapse::Expired) => f.write_str("the grant has expired"),
            SubscribeFailure::GrantLapsed(Lapse::Revoked) => f.write_str("the grant was revoked"),
            SubscribeFailure::Draining => {
                f.write_str("the hub is drained and has no more events for this subscription")
            }
            SubscribeFailure::NoRuntime => {
                f.write_str("a hub needs a tokio runtime: use it inside of one")
            }
            SubscribeFailure::Log(_) => f.write_str("the log cannot be read"),
            SubscribeFailure::Snapshot(_) => f.write_str("the snapshot failed"),
        }
    }
}

impl StdError for SubscribeError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.0 {
            SubscribeFailure::ChannelName(source) => Some(source),
            SubscribeFailure::Pattern(source) => Some(source),
            SubscribeFailure::Log(source) => Some(source),
            SubscribeFailure::Snapshot(source) => Some(&**source),
            SubscribeFailure::ChannelCount { .. }
            | SubscribeFailure::NotGranted(_)
            | SubscribeFailure::GrantLapsed(_)
            | SubscribeFailure::Draining
            | SubscribeFailure::NoRuntime => None,
        }
    }
}
