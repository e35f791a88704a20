//! `EventSourceAction` and `EventSourceFailure`: the decisions of an `EventSourceState`.

use std::fmt;
use std::time::Duration;

use crate::{EventId, EventTooLarge};

/// The next step that the driver of an [`EventSourceState`](crate::EventSourceState) must take.
#[derive(Clone, PartialEq, Eq)]
#[allow(
    clippy::exhaustive_enums,
    reason = "a driver must handle each action; a new one is a breaking change"
)]
pub enum EventSourceAction {
    /// Send the request over a new connection, with this `Last-Event-ID`.
    Connect {
        /// The ID to resume after. A header can always carry it. `None` means no such header.
        last_event_id: Option<EventId>,
    },
    /// Send the request to the redirect's target. Once a stream opens there, all later requests of
    /// the session go there too.
    Redirect {
        /// The status of the redirect.
        status: u16,
        /// The value of its `Location` header.
        location: String,
        /// The ID to resume after, as in [`Connect`](Self::Connect).
        last_event_id: Option<EventId>,
    },
    /// Decide whether and when to reconnect, and report it by
    /// [`handle_decision`](crate::EventSourceState::handle_decision). Sent only under
    /// [`EventSourceState::ask`](crate::EventSourceState::ask).
    Decide {
        /// The number of the next attempt in this outage, counted from 1.
        attempt: u32,
        /// The server's last `retry`. `None` if it never sent one.
        reconnection_time: Option<Duration>,
        /// The `Retry-After` of the refusal. `None` if there was none.
        retry_after: Option<Duration>,
    },
    /// Report that an event over the limit was skipped, after the events that were taken and before those
    /// that follow. Sent only under [`Decoder::skip_large_events`](crate::Decoder::skip_large_events).
    Skipped(EventTooLarge),
    /// End the session without an error. The server answered 204, it ended a stream after which the
    /// policy does not reconnect, or the caller closed the session.
    Finish,
    /// End the session with this failure. The state machine sends no further request.
    Fail(EventSourceFailure),
}

// Shows no target of a redirect: its query may hold a secret.
impl fmt::Debug for EventSourceAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect { last_event_id } => f
                .debug_struct("Connect")
                .field("last_event_id", last_event_id)
                .finish(),
            Self::Redirect {
                status,
                location: _,
                last_event_id,
            } => f
                .debug_struct("Redirect")
                .field("status", status)
                .field("last_event_id", last_event_id)
                .finish_non_exhaustive(),
            Self::Decide {
                attempt,
                reconnection_time,
                retry_after,
            } => f
                .debug_struct("Decide")
                .field("attempt", attempt)
                .field("reconnection_time", reconnection_time)
                .field("retry_after", retry_after)
                .finish(),
            Self::Finish => f.write_str("Finish"),
            Self::Skipped(event) => f.debug_tuple("Skipped").field(event).finish(),
            Self::Fail(failure) => f.debug_tuple("Fail").field(failure).finish(),
        }
    }
}

/// The reason why a connection, an attempt or a whole session failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(
    clippy::exhaustive_enums,
    reason = "a driver maps each failure to its own error; a new one is a breaking change"
)]
pub enum EventSourceFailure {
    /// The driver could not make the request, for example because a token was not available.
    Request,
    /// The attempt ended before a response head: a failed lookup, a refused connection, TLS, a
    /// proxy, a cut or a timeout.
    Connect,
    /// The server redirected more than [`MAX_REDIRECTS`](crate::MAX_REDIRECTS) times in a row.
    TooManyRedirects,
    /// The server answered with a status other than 200 and 204.
    Status(u16),
    /// The server answered with another media type than that of a stream, or with none.
    ContentType(Option<String>),
    /// The server answered with a stream in this content coding, which the driver does not decode.
    ContentEncoding(&'static str),
    /// The stream was open, and then it was cut.
    Interrupted,
    /// The stream ended as HTTP specifies, and the policy allows no further attempt.
    OutOfAttempts,
    /// A block exceeded [`Decoder::max_event_bytes`](crate::Decoder::max_event_bytes).
    EventTooLarge(EventTooLarge),
}
