//! `Error`: why a session could not be opened, or why it ended.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::iter::successors;
use std::sync::Arc;
use std::time::Duration;

use http::{Response, StatusCode};
use tidings_proto::{EventId, EventTooLarge};

use crate::shown_id::ShownId;
use crate::transport::TransportError;

/// Why a session could not be opened, or why it ended. A session returns it once, as its last item.
///
/// [`kind`](Self::kind) is for code, `Display` is for people, and the cause is
/// [`source`](StdError::source). No text of an error names a path, a query or a header. Cheap to
/// clone.
///
/// ```no_run
/// # async fn read(client: tidings_client::SseClient) -> Result<(), tidings_client::Error> {
/// use tidings_client::ErrorKind;
///
/// match client.get("http://localhost:8080/events").open().await {
///     Err(error) if error.kind() == &ErrorKind::Status(http::StatusCode::UNAUTHORIZED) => {
///         eprintln!("{error}: {}", error.response().map_or("", |refusal| refusal.body()));
///     }
///     Err(error) if error.is_connect() => eprintln!("is the server running? {error}"),
///     opened => drop(opened?),
/// }
/// # Ok(())
/// # }
/// ```
#[doc(alias = "SSEClientException")]
#[doc(alias = "SSEConnectionException")]
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    source: Option<Arc<dyn StdError + Send + Sync>>,
    /// Host and port of the server that the error is about, if it is about one and the URL has any.
    server: Option<String>,
    response: Option<Response<String>>,
    retry_after: Option<Duration>,
    last_event_id: Option<EventId>,
    buffer: Option<String>,
}

/// The kind of failure that an [`Error`] reports.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request cannot be made as you asked: its URL, a header or a setting is invalid. The
    /// source says which.
    InvalidRequest,
    /// Your [`before_connect`](crate::RequestBuilder::before_connect) hook failed. The source is its
    /// error.
    BeforeConnect,
    /// No stream began: the name lookup, TCP, the proxy or TLS failed, the connection broke or timed
    /// out before the response head, or the server redirected more than 20 times.
    Connect,
    /// The server began the response, then it was cut: a reset, a malformed chunk, the
    /// [idle timeout](crate::RequestBuilder::idle_timeout), or an end before the event that
    /// [`until`](crate::RequestBuilder::until) waits for.
    Interrupted,
    /// The server answered with this status instead of 200.
    Status(StatusCode),
    /// The server answered with this `Content-Type`, or with none, instead of `text/event-stream`.
    /// [`read_media_type`](crate::RequestBuilder::read_media_type) reads it as a stream, and
    /// [`open_or_response`](crate::RequestBuilder::open_or_response) returns it whole.
    ContentType(Option<String>),
    /// The server answered in this content coding, which the transport does not decode. The same
    /// request would be answered in the same way, so it is not sent again. A request that sets its
    /// own `Accept-Encoding` reads the body as it is.
    ///
    /// Differs from the standard: [Fetch](https://fetch.spec.whatwg.org/#handle-content-codings)
    /// always reads it as it is, and encoded bytes would be taken for events.
    ContentEncoding(&'static str),
    /// The server redirected to a URL that cannot be requested, or from https to http.
    InvalidRedirect,
    /// The server ended the stream in the regular way, and the policy allows no further attempt. Each
    /// attempt of the outage failed, or brought neither an event nor an ID nor a comment. Without
    /// reconnection, the end of a stream is no error.
    OutOfAttempts,
    /// The server sent an event over the
    /// [limit](crate::RequestBuilder::max_event_bytes). The source is the
    /// [`EventTooLarge`](crate::EventTooLarge), with the size. A session that resumes after the last
    /// event ID receives the event again;
    /// [`skip_large_events`](crate::RequestBuilder::skip_large_events) passes it.
    EventTooLarge,
    /// The server sent a response without a stream, over the
    /// [limit](crate::RequestBuilder::max_response_bytes).
    ResponseTooLarge,
    /// Data is not JSON of the type that you asked for, as returned by
    /// [`Event::json`](crate::Event::json) and converted by `?`. The source is the error of
    /// serde_json.
    #[cfg(feature = "json")]
    Json,
    /// The server sent an event that is not of the type that a
    /// [strict](crate::TypedSession::strict) [`TypedSession`](crate::TypedSession) reads. The source
    /// is the [`Undecodable`](crate::Undecodable), which holds the event.
    #[cfg(feature = "json")]
    Undecodable,
    /// An error of your own, made by [`Error::other`]. It is the source.
    Other,
}

impl Error {
    fn new(kind: ErrorKind, source: Option<TransportError>) -> Self {
        Self(Arc::new(Inner {
            kind,
            source: source.map(Arc::from),
            server: None,
            response: None,
            retry_after: None,
            last_event_id: None,
            buffer: None,
        }))
    }

    /// An error of your own, to leave a block of [`run`](crate::RequestBuilder::run) with; its kind
    /// is [`ErrorKind::Other`].
    pub fn other(source: impl Into<TransportError>) -> Self {
        Self::new(ErrorKind::Other, Some(source.into()))
    }

    pub(crate) fn invalid_request(source: impl Into<TransportError>) -> Self {
        Self::new(ErrorKind::InvalidRequest, Some(source.into()))
    }

    pub(crate) fn before_connect(source: TransportError) -> Self {
        Self::new(ErrorKind::BeforeConnect, Some(source))
    }

    pub(crate) fn connect(server: Option<String>, source: TransportError) -> Self {
        Self::new(ErrorKind::Connect, Some(source)).about(server)
    }

    pub(crate) fn interrupted(server: Option<String>, source: TransportError) -> Self {
        Self::new(ErrorKind::Interrupted, Some(source)).about(server)
    }

    pub(crate) fn out_of_attempts(server: Option<String>) -> Self {
        Self::new(ErrorKind::OutOfAttempts, None).about(server)
    }

    pub(crate) fn status(
        server: Option<String>,
        status: StatusCode,
        retry_after: Option<Duration>,
    ) -> Self {
        let mut error = Self::new(ErrorKind::Status(status), None).about(server);
        error.inner_mut().retry_after = retry_after;
        error
    }

    pub(crate) fn content_type(server: Option<String>, found: Option<String>) -> Self {
        Self::new(ErrorKind::ContentType(found), None).about(server)
    }

    pub(crate) fn content_encoding(server: Option<String>, coding: &'static str) -> Self {
        Self::new(ErrorKind::ContentEncoding(coding), None).about(server)
    }

    pub(crate) fn invalid_redirect(source: TransportError) -> Self {
        Self::new(ErrorKind::InvalidRedirect, Some(source))
    }

    pub(crate) fn event_too_large(server: Option<String>, source: EventTooLarge) -> Self {
        Self::new(ErrorKind::EventTooLarge, Some(source.into())).about(server)
    }

    pub(crate) fn response_too_large(server: Option<String>) -> Self {
        Self::new(ErrorKind::ResponseTooLarge, None).about(server)
    }

    #[cfg(feature = "json")]
    pub(crate) fn undecodable(source: tidings_proto::Undecodable) -> Self {
        Self::new(ErrorKind::Undecodable, Some(source.into()))
    }

    fn inner_mut(&mut self) -> &mut Inner {
        Arc::make_mut(&mut self.0)
    }

    fn about(mut self, server: Option<String>) -> Self {
        self.inner_mut().server = server;
        self
    }

    /// Adds the response that is the failure.
    pub(crate) fn set_response(&mut self, response: Response<String>) {
        self.inner_mut().response = Some(response);
    }

    /// Adds where the session was.
    pub(crate) fn at(mut self, last_event_id: Option<&EventId>, buffer: Option<String>) -> Self {
        let inner = self.inner_mut();
        inner.last_event_id = last_event_id.cloned();
        inner.buffer = buffer;
        self
    }

    /// Sets the last event ID of the session that this error ends, also if the error is one of another
    /// session.
    pub(crate) fn after(mut self, last_event_id: Option<&EventId>) -> Self {
        self.inner_mut().last_event_id = last_event_id.cloned();
        self
    }

    /// The kind of failure.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// Whether no stream began: the kind is [`ErrorKind::Connect`].
    #[must_use]
    pub fn is_connect(&self) -> bool {
        self.0.kind == ErrorKind::Connect
    }

    /// Whether a timeout caused the failure: one of yours, one of the transport, or one of the
    /// operating system.
    ///
    /// A transport reports its timeout by an [`io::Error`] of the kind
    /// [`TimedOut`](io::ErrorKind::TimedOut) among the sources.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        let mut causes = successors(self.source(), |cause| (*cause).source());
        causes.any(|cause| {
            let cause = cause.downcast_ref::<io::Error>();
            cause.is_some_and(|cause| cause.kind() == io::ErrorKind::TimedOut)
        })
    }

    /// The response that is the failure: one that refuses the request by its status or its media
    /// type, or that cannot be decoded. `None` for any other failure.
    ///
    /// Its body is text: the part that arrived within 5 s and before a silence of 1 s, at most
    /// [`max_error_body_bytes`](crate::RequestBuilder::max_error_body_bytes). Invalid UTF-8 is
    /// replaced. A body in a coding that the transport does not decode is as it was sent.
    #[must_use]
    pub fn response(&self) -> Option<&Response<String>> {
        self.0.response.as_ref()
    }

    /// How long the server asks you to wait before another request, by the `Retry-After` of its
    /// refusal.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Whether the same request may succeed when it is sent again: the connection or your
    /// `before_connect` hook failed, the server refused with a temporary status (408, 425, 429,
    /// 5xx), or it ended the stream after the last attempt.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self.kind() {
            ErrorKind::BeforeConnect
            | ErrorKind::Connect
            | ErrorKind::Interrupted
            | ErrorKind::OutOfAttempts => true,
            ErrorKind::Status(status) => tidings_proto::is_temporary_status(status.as_u16()),
            ErrorKind::InvalidRequest
            | ErrorKind::ContentType(_)
            | ErrorKind::ContentEncoding(_)
            | ErrorKind::InvalidRedirect
            | ErrorKind::EventTooLarge
            | ErrorKind::ResponseTooLarge
            | ErrorKind::Other => false,
            #[cfg(feature = "json")]
            ErrorKind::Json | ErrorKind::Undecodable => false,
        }
    }

    /// The last event ID when the failure happened. Another session can
    /// [resume after it](crate::RequestBuilder::last_event_id). An error that leaves a block of
    /// [`run`](crate::RequestBuilder::run) carries that of the block's session, whatever its kind.
    #[must_use]
    pub fn last_event_id(&self) -> Option<&EventId> {
        self.0.last_event_id.as_ref()
    }

    /// The text read before the failure, as much as the [`BufferPolicy`](crate::BufferPolicy)
    /// keeps; `None` if that is off. Invalid UTF-8 is replaced.
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
        let server = self.0.server.as_deref().unwrap_or("the server");
        match self.kind() {
            ErrorKind::InvalidRequest => {
                f.write_str("the request cannot be sent: its URL, a header or a setting is invalid")
            }
            ErrorKind::BeforeConnect => f.write_str("the before_connect hook failed"),
            ErrorKind::Connect => write!(f, "could not connect to {server}"),
            ErrorKind::Interrupted => write!(f, "the stream from {server} was interrupted"),
            ErrorKind::Status(status) => {
                write!(f, "expected status 200, but {server} answered {status}")
            }
            ErrorKind::ContentType(Some(content_type)) => write!(
                f,
                "expected text/event-stream, but {server} sent {content_type:?}; \
                 read_media_type reads other types"
            ),
            ErrorKind::ContentType(None) => write!(
                f,
                "expected text/event-stream, but {server} named no content type; \
                 read_any_media_type and open_or_response accept such a response"
            ),
            ErrorKind::OutOfAttempts => write!(
                f,
                "{server} ended the stream, and the policy allows no further attempt"
            ),
            ErrorKind::ContentEncoding(coding) => write!(
                f,
                "{server} sent a stream in the content coding {coding}, \
                 which the transport does not decode"
            ),
            ErrorKind::InvalidRedirect => {
                f.write_str("the server redirected to a URL that cannot be requested")
            }
            ErrorKind::EventTooLarge => {
                write!(
                    f,
                    "{server} sent an event over the limit; max_event_bytes changes it"
                )
            }
            ErrorKind::ResponseTooLarge => write!(
                f,
                "{server} sent a response over the limit; max_response_bytes changes it"
            ),
            #[cfg(feature = "json")]
            ErrorKind::Json => f.write_str("the data is not JSON of the expected type"),
            #[cfg(feature = "json")]
            ErrorKind::Undecodable => {
                f.write_str("the server sent an event that is not of the expected type")
            }
            ErrorKind::Other => f.write_str("the code that uses the session failed"),
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
        Self::new(ErrorKind::Json, Some(error.into()))
    }
}

// Shows the texts of the error and of its source, as `main` prints them when it returns the error.
// Shows neither the response nor the buffer: they may hold secrets.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", self.kind())
            .field("message", &self.to_string())
            .field("source", &self.0.source.as_ref().map(ToString::to_string))
            .field("last_event_id", &self.last_event_id().map(ShownId))
            .finish_non_exhaustive()
    }
}

/// A timeout of the session: nothing arrived for this long.
#[derive(Debug)]
pub(crate) struct TimedOut {
    pub(crate) waited_for: &'static str,
    pub(crate) timeout: Duration,
}

impl TimedOut {
    /// The error in the form by which [`Error::is_timeout`] recognizes it.
    pub(crate) fn into_source(self) -> TransportError {
        io::Error::new(io::ErrorKind::TimedOut, self).into()
    }
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            waited_for,
            timeout,
        } = self;
        write!(f, "the server sent no {waited_for} within {timeout:?}")
    }
}

impl StdError for TimedOut {}

/// A stream ended before the event that `until` waits for.
#[derive(Debug)]
pub(crate) struct EndedEarly;

impl fmt::Display for EndedEarly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the server ended the stream before the event that `until` waits for")
    }
}

impl StdError for EndedEarly {}
