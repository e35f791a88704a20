//! `Lifecycle` and `ConnectionState`: the steps of a session between its events, and its state.

use std::fmt;
use std::time::{Duration, Instant};

use http::response::Parts;
use tidings_proto::EventId;
#[cfg(feature = "json")]
use tidings_proto::Gap;

use crate::Error;
use crate::shown_id::ShownId;

/// A step of a session between its events, as [`on_lifecycle`](crate::RequestBuilder::on_lifecycle)
/// receives it.
///
/// A session that loses its connection reports [`Lost`](Self::Lost). If it tries again,
/// [`Waiting`](Self::Waiting) and [`Connecting`](Self::Connecting) follow; otherwise
/// [`Failed`](Self::Failed) or [`Ended`](Self::Ended), which are the last.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub enum Lifecycle<'a> {
    /// The session is about to send a request. Reported once for each attempt, not for redirects.
    Connecting {
        /// The number of this attempt in the current outage, counted from 1; 0 for the first
        /// connection.
        attempt: u32,
    },
    /// The request, and each redirect that it leads to, is sent without this last event ID, because
    /// a header cannot carry it ([`EventId::is_resumable`]). Events since then are lost. Follows
    /// `Connecting`.
    NotResumable {
        /// The last event ID.
        id: &'a EventId,
    },
    /// The server answered with an event stream.
    Open {
        /// The head of the response.
        response: &'a Parts,
    },
    /// The connection was lost, or an attempt failed.
    Lost {
        /// The reason; `None` if the server ended the response in the regular way.
        error: Option<&'a Error>,
        /// Whether the stream ended within an event, which the standard discards: its last lines had
        /// no empty line after them. If the session resumes, the server may send that event again.
        unfinished: bool,
    },
    /// The session waits before the next attempt.
    Waiting {
        /// The number of that attempt in the current outage, counted from 1.
        attempt: u32,
        /// The time until it begins.
        delay: Duration,
    },
    /// The server sent an event over the limit, which is skipped. Comes before the next event, under
    /// [`skip_large_events`](crate::RequestBuilder::skip_large_events) only.
    Skipped {
        /// The size of the event in bytes, counted as
        /// [`max_event_bytes`](crate::RequestBuilder::max_event_bytes) counts.
        size: usize,
        /// That limit.
        limit: usize,
        /// The ID of the event, which is now the last event ID of the session; as for any event, one
        /// without an `id` line has that of the event before.
        id: Option<&'a EventId>,
    },
    /// A hub reports that events are missing. Comes before the next event, with
    /// [`gaps`](crate::RequestBuilder::gaps) only.
    #[cfg(feature = "json")]
    Gap(&'a Gap),
    /// The session failed with this error, which the next read of the session returns.
    Failed {
        /// The error.
        error: &'a Error,
    },
    /// The session ended: the stream is complete. Not reported when you close or drop the session.
    /// If the end of a stream ended it, the [`Lost`](Self::Lost) before it reports an unfinished event.
    Ended,
}

/// The state of a session, from [`Session::state`](crate::Session::state).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionState {
    /// The session connects, or waits for the response head.
    Connecting {
        /// The number of this attempt in the current outage, counted from 1; 0 for the first
        /// connection.
        attempt: u32,
    },
    /// The stream is open.
    Open,
    /// The connection is lost, and the [`ReconnectionStrategy`](crate::ReconnectionStrategy) has
    /// not decided yet.
    Lost {
        /// The number of the next attempt in the current outage, counted from 1.
        attempt: u32,
    },
    /// The session waits before the next attempt.
    Waiting {
        /// The number of that attempt in the current outage, counted from 1.
        attempt: u32,
        /// The time at which it begins.
        until: Instant,
    },
    /// The session is over.
    Closed,
}

/// The `on_lifecycle` hook of a client or a request.
pub(crate) type OnLifecycle = dyn Fn(Lifecycle<'_>) + Send + Sync;

impl Lifecycle<'_> {
    /// Traces the step, without any URL or header. A loss is traced at `warn`, so that a client whose
    /// server is down is not silent. The error is the reason of the last loss; `None` if the server
    /// ended the stream in the regular way.
    pub(crate) fn trace(self, loss: Option<&Error>) {
        match self {
            Self::Connecting { attempt } => tracing::debug!(attempt, "connecting"),
            Self::NotResumable { .. } => {
                tracing::warn!("the last event ID is not resumable: a header cannot carry it");
            }
            Self::Open { response } => {
                tracing::debug!(status = response.status.as_u16(), "the stream is open");
            }
            // The regular end of a response is no fault; `Waiting` names it if the session reconnects.
            Self::Lost {
                error: None,
                unfinished: false,
            } => tracing::debug!("the server ended the stream"),
            Self::Lost {
                error: None,
                unfinished: true,
            } => tracing::warn!("the server ended the stream within an event, which is discarded"),
            Self::Lost {
                error: Some(error),
                unfinished,
            } => tracing::warn!(error = error.as_dyn(), unfinished, "the connection is lost"),
            // The warning before this one has the reason.
            Self::Waiting { attempt, delay } if loss.is_some() => {
                tracing::warn!(attempt, ?delay, "waiting to reconnect");
            }
            Self::Waiting { attempt, delay } => tracing::warn!(
                attempt,
                ?delay,
                "the server ended the stream; waiting to reconnect"
            ),
            Self::Skipped { size, limit, .. } => {
                tracing::warn!(size, limit, "an event over the limit is skipped");
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

// Shows only the status of a response: its headers may hold secrets.
impl fmt::Debug for Lifecycle<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connecting { attempt } => debug(f, "Connecting", "attempt", attempt),
            Self::NotResumable { id } => debug(f, "NotResumable", "id", &ShownId(id)),
            Self::Open { response } => debug(f, "Open", "status", &response.status),
            Self::Lost { error, unfinished } => f
                .debug_struct("Lost")
                .field("error", error)
                .field("unfinished", unfinished)
                .finish(),
            Self::Waiting { attempt, delay } => f
                .debug_struct("Waiting")
                .field("attempt", attempt)
                .field("delay", delay)
                .finish(),
            Self::Skipped { size, limit, id } => f
                .debug_struct("Skipped")
                .field("size", size)
                .field("limit", limit)
                .field("id", &id.map(ShownId))
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
