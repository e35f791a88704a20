//! `PublishError`: why an event was not published, or a channel not ended.

use std::error::Error as StdError;
use std::fmt;

use crate::unavailable::Unavailable;
use crate::{InvalidChannelName, LogError, LogErrorKind};

/// The error of [`Hub::publish`](crate::Hub::publish), [`Channel::end`](crate::Channel::end) and
/// [`Producer`](crate::Producer).
///
/// ```
/// use tidings_hub::{Event, Hub, PublishErrorKind};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let hub = Hub::in_memory();
/// let error = hub.publish("a//b", Event::new("hello")).await.unwrap_err();
/// assert_eq!(error.kind(), PublishErrorKind::InvalidChannelName);
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct PublishError(PublishFailure);

/// The kind of a [`PublishError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PublishErrorKind {
    /// The channel name is not valid. The source is an [`InvalidChannelName`].
    InvalidChannelName,
    /// The key is empty, or longer than 255 bytes.
    InvalidKey,
    /// The event has no data, so no client would receive it.
    NoData,
    /// The event is named `gap` or `closed`. Only the hub itself sends events of these names.
    ReservedName,
    /// The event is larger than the [hub](crate::HubBuilder::max_event_bytes) or its log accepts.
    TooLarge,
    /// The channel has ended.
    Ended,
    /// The hub is [drained](crate::Hub::drain) and accepts no more events.
    Draining,
    /// There is no tokio runtime for the hub's task.
    NoRuntime,
    /// The event may have been published or not: the log failed before it confirmed the event, or did
    /// not confirm it within the [`log_timeout`](crate::HubBuilder::log_timeout). Publishing again
    /// under the same [key](crate::Publish::key) is safe.
    Unconfirmed,
    /// The log failed. The source is a [`LogError`]. The event may have been published, unless the
    /// kind of that error is [`LogErrorKind::Refused`] or [`LogErrorKind::Silent`].
    Log,
}

/// What failed, with the details for the message.
#[derive(Debug, Clone)]
pub(crate) enum PublishFailure {
    ChannelName(InvalidChannelName),
    Key {
        bytes: usize,
    },
    NoData,
    ReservedName(&'static str),
    TooLarge {
        bytes: usize,
        max: usize,
    },
    Ended,
    Draining,
    NoRuntime,
    /// With the error of the log, if the append itself had no answer.
    Unconfirmed(Option<LogError>),
    Log(LogError),
}

impl PublishError {
    /// What failed.
    #[must_use]
    pub fn kind(&self) -> PublishErrorKind {
        match &self.0 {
            PublishFailure::ChannelName(_) => PublishErrorKind::InvalidChannelName,
            PublishFailure::Key { .. } => PublishErrorKind::InvalidKey,
            PublishFailure::NoData => PublishErrorKind::NoData,
            PublishFailure::ReservedName(_) => PublishErrorKind::ReservedName,
            PublishFailure::TooLarge { .. } => PublishErrorKind::TooLarge,
            PublishFailure::Ended => PublishErrorKind::Ended,
            PublishFailure::Draining => PublishErrorKind::Draining,
            PublishFailure::NoRuntime => PublishErrorKind::NoRuntime,
            PublishFailure::Unconfirmed(_) => PublishErrorKind::Unconfirmed,
            PublishFailure::Log(error) if error.kind() == LogErrorKind::TooLarge => {
                PublishErrorKind::TooLarge
            }
            PublishFailure::Log(_) => PublishErrorKind::Log,
        }
    }

    /// The log failed.
    pub(crate) fn log(error: LogError) -> Self {
        Self(PublishFailure::Log(error))
    }

    /// The log failed to append an entry.
    pub(crate) fn append(error: LogError) -> Self {
        match error.kind() {
            LogErrorKind::Silent => Self(PublishFailure::Unconfirmed(Some(error))),
            LogErrorKind::Ended => Self(PublishFailure::Ended),
            LogErrorKind::Trimmed { .. }
            | LogErrorKind::Rewound { .. }
            | LogErrorKind::TooLarge
            | LogErrorKind::Refused
            | LogErrorKind::Lost => Self::log(error),
        }
    }

    /// Whether the log has refused the entry, which therefore is not stored.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(&self.0, PublishFailure::Log(error) if error.kind() == LogErrorKind::Refused)
    }
}

impl From<PublishFailure> for PublishError {
    fn from(failure: PublishFailure) -> Self {
        Self(failure)
    }
}

impl From<InvalidChannelName> for PublishError {
    fn from(error: InvalidChannelName) -> Self {
        Self(PublishFailure::ChannelName(error))
    }
}

impl From<Unavailable> for PublishError {
    fn from(error: Unavailable) -> Self {
        Self(match error {
            Unavailable::NoRuntime => PublishFailure::NoRuntime,
            Unavailable::Log(error) => PublishFailure::Log(error),
        })
    }
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            PublishFailure::ChannelName(error) => error.write_summary(f),
            PublishFailure::Key { bytes } => {
                write!(f, "a key has 1 to 255 bytes, not {bytes}")
            }
            PublishFailure::NoData => f.write_str("an event needs data to be published"),
            PublishFailure::ReservedName(name) => {
                write!(f, "the event name {name} is reserved for the hub")
            }
            PublishFailure::TooLarge { bytes, max } => {
                write!(
                    f,
                    "the event has {bytes} bytes, but the hub accepts at most {max}"
                )
            }
            PublishFailure::Ended => f.write_str("the channel has ended"),
            PublishFailure::Draining => f.write_str("the hub is drained and accepts no events"),
            PublishFailure::NoRuntime => {
                f.write_str("a hub needs a tokio runtime: use it inside of one")
            }
            PublishFailure::Unconfirmed(_) => f.write_str(
                "the log did not confirm the event, which may have been published or not",
            ),
            PublishFailure::Log(error) => f.write_str(match error.kind() {
                LogErrorKind::TooLarge | LogErrorKind::Refused => {
                    "the log did not accept the event"
                }
                LogErrorKind::Silent => "the log does not respond",
                LogErrorKind::Trimmed { .. }
                | LogErrorKind::Rewound { .. }
                | LogErrorKind::Ended
                | LogErrorKind::Lost => "the log failed before it confirmed the event",
            }),
        }
    }
}

impl StdError for PublishError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.0 {
            PublishFailure::ChannelName(source) => Some(source),
            PublishFailure::Log(source) | PublishFailure::Unconfirmed(Some(source)) => Some(source),
            PublishFailure::Key { .. }
            | PublishFailure::NoData
            | PublishFailure::ReservedName(_)
            | PublishFailure::TooLarge { .. }
            | PublishFailure::Ended
            | PublishFailure::Draining
            | PublishFailure::NoRuntime
            | PublishFailure::Unconfirmed(None) => None,
        }
    }
}
