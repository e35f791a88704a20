//! Owns `Error`: why a session could not be opened, or is over.

use std::error::Error as StdError;
use std::fmt;

use tidings_proto::{EventTooLarge, Failure};

use crate::transport::TransportError;

/// Why a session could not be opened, or is over. It comes once, and ends the session.
#[doc(alias = "SSEClientException")]
#[doc(alias = "SSEConnectionException")]
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    source: Option<TransportError>,
}

/// What kind of failure an [`Error`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request cannot be made as it was asked for: its URL or a header is no such thing.
    InvalidRequest,
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
}

impl Error {
    pub(crate) fn invalid_request(source: impl Into<TransportError>) -> Self {
        Self {
            kind: ErrorKind::InvalidRequest,
            source: Some(source.into()),
        }
    }

    pub(crate) fn invalid_redirect(source: TransportError) -> Self {
        Self {
            kind: ErrorKind::InvalidRedirect,
            source: Some(source),
        }
    }

    pub(crate) fn ended_early() -> Self {
        Self {
            kind: ErrorKind::EndedEarly,
            source: None,
        }
    }

    /// The error of a session that failed like this, after this network error if there was one.
    pub(crate) fn of(failure: Failure, network_error: Option<TransportError>) -> Self {
        match failure {
            Failure::Status(status) => {
                // Only a status that came as a `StatusCode` gets here.
                let status = http::StatusCode::from_u16(status).unwrap_or_default();
                Self {
                    kind: ErrorKind::Status(status),
                    source: None,
                }
            }
            Failure::ContentType(content_type) => Self {
                kind: ErrorKind::ContentType(content_type),
                source: None,
            },
            Failure::EventTooLarge(error) => Self::too_large(error),
            _ => Self {
                kind: ErrorKind::Network,
                source: network_error,
            },
        }
    }

    fn too_large(error: EventTooLarge) -> Self {
        Self {
            kind: ErrorKind::EventTooLarge,
            source: Some(error.into()),
        }
    }

    #[cfg(feature = "json")]
    pub(crate) fn undecodable(source: tidings_proto::Undecodable) -> Self {
        Self {
            kind: ErrorKind::Undecodable,
            source: Some(source.into()),
        }
    }

    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ErrorKind::InvalidRequest => f.write_str("the request cannot be made"),
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
        self.source.as_deref().map(|source| source as _)
    }
}
