//! Owns `Lifecycle` and `ConnectionState`: what becomes of a session between its events.

use std::fmt;
use std::time::{Duration, Instant};

use http::response::Parts;
use tidings_proto::EventId;
#[cfg(feature = "json")]
use tidings_proto::Gap;

use crate::Error;

/// What becomes of a session, as [`on_lifecycle`](crate::RequestBuilder::on_lifecycle) hears it.
///
/// A session that loses its connection tells [`Lost`](Self::Lost), then [`Waiting`](Self::Waiting)
/// and [`Connecting`](Self::Connecting) if it tries again, and else [`Failed`](Self::Failed) or
/// [`Ended`](Self::Ended), which are the last.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub enum Lifecycle<'a> {
    /// A request is about to be sent.
    Connecting {
        /// Which attempt in this outage it is, counted from 1; 0 for the first connection.
        attempt: u32,
    },
    /// The request goes without this last event ID, as no header can carry it: what was missed
    /// since is lost. Comes after `Connecting`.
    NotResumable {
        /// The last event ID.
        id: &'a EventId,
    },
    /// The server answers with an event stream.
    Open {
        /// The head of its response.
        response: &'a Parts,
    },
    /// The connection was lost, or could not be made.
    Lost {
        /// Why; `None` if the server ended the stream as it should.
        error: Option<&'a Error>,
    },
    /// There will be another attempt.
    Waiting {
        /// Which one in this outage, counted from 1.
        attempt: u32,
        /// In how long.
        delay: Duration,
    },
    /// A hub tells that events are missing, before it hands out the next one; with
    /// [`gaps`](crate::RequestBuilder::gaps).
    #[cfg(feature = "json")]
    Gap(&'a Gap),
    /// The session is over, with this error, which whoever takes its events gets next.
    Failed {
        /// Why.
        error: &'a Error,
    },
    /// The session is over: the stream came to its end. Not told of a session that its user
    /// closes or drops.
    Ended,
}

/// What a session is doing, as [`Session::state`](crate::Session::state) tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionState {
    /// It is connecting, or waits for the head of the response.
    Connecting {
        /// Which attempt in this outage it is, counted from 1; 0 for the first connection.
        attempt: u32,
    },
    /// It hears the stream.
    Open,
    /// It has lost its connection, and its
    /// [`ReconnectionStrategy`](crate::ReconnectionStrategy) has not said yet what to do.
    Lost {
        /// Which attempt in this outage there may be, counted from 1.
        attempt: u32,
    },
    /// It waits before it connects again.
    Waiting {
        /// Which attempt in this outage it waits for, counted from 1.
        attempt: u32,
        /// Until when.
        until: Instant,
    },
    /// It is over.
    Closed,
}

/// Who hears it.
pub(crate) type OnLifecycle = dyn Fn(Lifecycle<'_>) + Send + Sync;

impl Lifecycle<'_> {
    /// One trace event each. Neither a URL nor a header is in any.
    pub(crate) fn trace(self) {
        match self {
            Self::Connecting { attempt } => tracing::debug!(attempt, "connecting"),
            Self::NotResumable { .. } => {
                tracing::warn!("the last event ID is not resumable: no header can carry it");
            }
            Self::Open { response } => {
                tracing::debug!(status = response.status.as_u16(), "the stream is open");
            }
            Self::Lost { error: None } => tracing::debug!("the server ended the stream"),
            Self::Lost { error: Some(error) } => {
                tracing::debug!(error = error.as_dyn(), "the connection is lost");
            }
            Self::Waiting { attempt, delay } => {
                tracing::debug!(attempt, ?delay, "waiting to connect again");
            }
            #[cfg(feature = "json")]
            Self::Gap(gap) => tracing::warn!(
                reason = ?gap.reason,
                missed = gap.missed,
                "events are missing"
            ),
            Self::Failed { error } => tracing::debug!(error = error.as_dyn(), "the session failed"),
            Self::Ended => tracing::debug!("the session has ended"),
        }
    }
}

// Of a response its status alone: its headers may hold secrets.
impl fmt::Debug for Lifecycle<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connecting { attempt } => debug(f, "Connecting", "attempt", attempt),
            Self::NotResumable { id } => debug(f, "NotResumable", "id", id),
            Self::Open { response } => debug(f, "Open", "status", &response.status),
            Self::Lost { error } => debug(f, "Lost", "error", error),
            Self::Waiting { attempt, delay } => f
                .debug_struct("Waiting")
                .field("attempt", attempt)
                .field("delay", delay)
                .finish(),
            #[cfg(feature = "json")]
            Self::Gap(gap) => f.debug_tuple("Gap").field(gap).finish(),
            Self::Failed { error } => debug(f, "Failed", "error", error),
            Self::Ended => f.write_str("Ended"),
        }
    }
}

fn debug(
    f: &mut fmt::Formatter<'_>,
    variant: &str,
    name: &str,
    value: &dyn fmt::Debug,
) -> fmt::Result {
    f.debug_struct(variant)
        .field(name, value)
        .finish_non_exhaustive()
}
