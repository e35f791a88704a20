//! Owns `Error`: why a session could not be opened, or is over.

use std::error::Error as StdError;
use std::fmt;

use http::Response;
use tidings_proto::{EventId, EventSourceFailure};

use crate::transport::TransportError;

/// Why a session could not be opened, or is over. It comes once, and ends the session.
///
/// ```no_run
/// # async fn hear(client: tidings_client::SseClient) -> Result<(), tidings_client::Error> {
/// use tidings_client::ErrorKind;
///
/// match client.get("http://localhost:8080/events").open().await {
///     Err(error) if error.kind() == &ErrorKind::Status(http::StatusCode::UNAUTHORIZED) => {
///         eprintln!("{error}: {}", error.response().map_or("", |refusal| refusal.body()));
///     }
///     opened => drop(opened?),
/// }
/// # Ok(())
/// # }
/// ```
#[doc(alias = "SSEClientException")]
#[doc(alias = "SSEConnectionException")]
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    source: Option<TransportError>,
    response: Option<Response<String>>,
    last_event_id: Option<EventId>,
    buffer: Option<String>,
}

/// What kind of failure an [`Error`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request cannot be made as it was asked for: its URL or a header is no such thing.
    InvalidRequest,
    /// The hook that the caller set by
    /// [`before_connect`](crate::RequestBuilder::before_connect) failed. The source is its error.
    BeforeConnect,
    /// The connection failed or broke, and the policy allows no further attempt.
    Network,
    /// The server answered with this status and not with 200.
    Status(http::StatusCode),
    /// The server answered with this media type, or with none, and not with `text/event-stream`.
    ContentType(Option<String>),
    /// The server redirected to where no request can be sent, or from https to http.
    InvalidRedirect,
    /// The server sent an event over the limit.
    EventTooLarge,
    /// The stream ended before the event that
    /// [`until`](crate::RequestBuilder::until) waits for: the answer is not whole.
    EndedEarly,
    /// The server sent an event that is not of the type that a strict
    /// [`TypedSession`](crate::TypedSession) reads. The source is the
    /// [`Undecodable`](crate::Undecodable), which holds the event.
    #[cfg(feature = "json")]
    Undecodable,
    /// A block of [`run`](crate::RequestBuilder::run) failed by itself. The source is its error.
    Block,
}

impl Error {
    fn new(kind: ErrorKind, source: Option<TransportError>) -> Self {
        Self(Box::new(Inner {
            kind,
            source,
            response: None,
            last_event_id: None,
            buffer: None,
        }))
    }

    /// An error of the caller's own, to leave a block of [`run`](crate::RequestBuilder::run) by; of
    /// the kind [`ErrorKind::Block`]. An error of serde_json becomes one by `?`.
    pub fn other(source: impl Into<TransportError>) -> Self {
        Self::new(ErrorKind::Block, Some(source.into()))
    }

    pub(crate) fn invalid_request(source: impl Into<TransportError>) -> Self {
        Self::new(ErrorKind::InvalidRequest, Some(source.into()))
    }

    pub(crate) fn before_connect(source: TransportError) -> Self {
        Self::new(ErrorKind::BeforeConnect, Some(source))
    }

    pub(crate) fn invalid_redirect(source: TransportError) -> Self {
        Self::new(ErrorKind::InvalidRedirect, Some(source))
    }

    pub(crate) fn ended_early() -> Self {
        Self::new(ErrorKind::EndedEarly, None)
    }

    #[cfg(feature = "json")]
    pub(crate) fn undecodable(source: tidings_proto::Undecodable) -> Self {
        Self::new(ErrorKind::Undecodable, Some(source.into()))
    }

    /// The error of a session that failed like this, after this network error if there was one.
    pub(crate) fn of(failure: EventSourceFailure, network_error: Option<TransportError>) -> Self {
        match failure {
            EventSourceFailure::Status(status) => {
                // Only a status that came as a `StatusCode` gets here.
                let status = http::StatusCode::from_u16(status).unwrap_or_default();
                Self::new(ErrorKind::Status(status), None)
            }
            EventSourceFailure::ContentType(found) => {
                Self::new(ErrorKind::ContentType(found), None)
            }
            EventSourceFailure::EventTooLarge(error) => {
                Self::new(ErrorKind::EventTooLarge, Some(error.into()))
            }
            EventSourceFailure::TooManyRedirects => {
                Self::new(ErrorKind::Network, Some("too many redirects".into()))
            }
            EventSourceFailure::Connect
            | EventSourceFailure::Interrupted
            | EventSourceFailure::Request => Self::new(ErrorKind::Network, network_error),
        }
    }

    /// With the response that is the failure.
    pub(crate) fn set_response(&mut self, response: Response<String>) {
        self.0.response = Some(response);
    }

    /// With where the session was.
    pub(crate) fn at(mut self, last_event_id: Option<&EventId>, buffer: Option<String>) -> Self {
        self.0.last_event_id = last_event_id.cloned();
        self.0.buffer = buffer;
        self
    }

    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// The response that is the failure: one that refuses the request by its status or its media
    /// type. `None` if it is something else.
    ///
    /// Its body is what came of it within 5 s, at most
    /// [`max_error_body_bytes`](crate::RequestBuilder::max_error_body_bytes), as text: what is not
    /// UTF-8 is replaced.
    #[must_use]
    pub fn response(&self) -> Option<&Response<String>> {
        self.0.response.as_ref()
    }

    /// Whether the same request may succeed when it is sent again: the connection failed, the
    /// stream ended early, or the server refused with a status that may be over soon (408, 425,
    /// 429, 5xx).
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self.kind() {
            ErrorKind::Network | ErrorKind::EndedEarly => true,
            ErrorKind::Status(status) => tidings_proto::is_temporary_status(status.as_u16()),
            _ => false,
        }
    }

    /// The last event ID when it happened: what another session may
    /// [resume after](crate::RequestBuilder::last_event_id).
    #[must_use]
    pub fn last_event_id(&self) -> Option<&EventId> {
        self.0.last_event_id.as_ref()
    }

    /// What was read before it happened, as much as the
    /// [`BufferPolicy`](crate::BufferPolicy) keeps; `None` if that is off. What is not UTF-8 is
    /// replaced.
    #[must_use]
    pub fn buffer(&self) -> Option<&str> {
        self.0.buffer.as_deref()
    }

    pub(crate) fn as_dyn(&self) -> &(dyn StdError + 'static) {
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind() {
            ErrorKind::InvalidRequest => f.write_str("the request cannot be made"),
            ErrorKind::BeforeConnect => {
                f.write_str("the hook that runs before each request failed")
            }
            ErrorKind::Network => f.write_str("the connection to the server failed"),
            ErrorKind::Status(status) => {
                write!(f, "expected status 200, but the server answered {status}")
            }
            ErrorKind::ContentType(Some(content_type)) => {
                write!(
                    f,
                    "expected text/event-stream, but the server sent {content_type:?}"
                )
            }
            ErrorKind::ContentType(None) => {
                f.write_str("expected text/event-stream, but the server named no content type")
            }
            ErrorKind::InvalidRedirect => {
                f.write_str("the server redirected to where no request can be sent")
            }
            ErrorKind::EndedEarly => f.write_str("the stream ended before its last event"),
            ErrorKind::Block => f.write_str("the block that runs over the session failed"),
            ErrorKind::EventTooLarge => f.write_str("the server sent too large an event"),
            #[cfg(feature = "json")]
            ErrorKind::Undecodable => {
                f.write_str("the server sent an event that is not of the expected type")
            }
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(feature = "json")]
impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::other(error)
    }
}

// Neither the response nor the buffer, nor what a source holds beside its text: they may be secrets.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", self.kind())
            .field("source", &self.0.source.as_ref().map(ToString::to_string))
            .field("last_event_id", &self.0.last_event_id)
            .finish_non_exhaustive()
    }
}
