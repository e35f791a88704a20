//! `SseRequest`: the extractor of a request for an event stream.

use std::convert::Infallible;
use std::future::Future;
use std::ops::Deref;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::response::Response;
use futures_core::Stream;
use tidings_proto::{EncodedEvents, Feed};
use tidings_server::{HandlerError, Session, SessionOptions};

/// An extractor: a request for an event stream that is not answered yet.
///
/// The handler decides: it may also answer with another response, such as a 401.
///
/// ```
/// use axum::http::StatusCode;
/// use axum::response::{IntoResponse, Response};
/// use tidings_axum::{Event, SseRequest};
///
/// async fn events(request: SseRequest) -> Response {
///     if !request.parts().headers.contains_key("authorization") {
///         return StatusCode::UNAUTHORIZED.into_response();
///     }
///     request.open(async |session| {
///         session.send(Event::new("hello")).await?;
///         Ok(())
///     })
/// }
/// ```
#[derive(Debug)]
pub struct SseRequest(tidings_server::SseRequest);

impl SseRequest {
    /// Sets the options of this session. Default: `SessionOptions::new()`.
    #[must_use]
    pub fn options(self, options: SessionOptions) -> Self {
        Self(self.0.options(options))
    }

    /// Opens the stream; see [`tidings_server::SseRequest::open`].
    #[must_use]
    pub fn open<H, F>(self, handler: H) -> Response
    where
        H: FnOnce(Session) -> F,
        F: Future<Output = Result<(), HandlerError>> + Send + 'static,
    {
        self.0.open(handler).map(Body::new)
    }

    /// Opens the stream and sends the events of a `Stream`; see
    /// [`tidings_server::SseRequest::stream`].
    ///
    /// A hub's subscription is not a `Stream`, as it would not resume here: [`forward`](Self::forward) it.
    #[must_use]
    pub fn stream<S, T, E>(self, events: S) -> Response
    where
        S: Stream<Item = Result<T, E>> + Send + 'static,
        T: Into<EncodedEvents> + Send,
        E: Into<HandlerError> + Send,
    {
        self.0.stream(events).map(Body::new)
    }

    /// Opens the stream of a feed, such as a hub's subscription, and resumes after the client's last event
    /// ID. If the feed does not open, it answers with a status, such as 204 for a feed that has ended; see
    /// [`tidings_server::SseRequest::forward`].
    ///
    /// ```
    /// use axum::response::Response;
    /// use tidings_axum::{Feed, SseRequest};
    ///
    /// async fn news(request: SseRequest, feed: impl Feed + 'static) -> Response {
    ///     request.forward(feed).await
    /// }
    /// ```
    ///
    /// # Cancel safety
    /// If you drop it before it is ready, no session was opened, and the feed is dropped.
    pub async fn forward<F: Feed + 'static>(self, feed: F) -> Response {
        self.0.forward(feed).await.map(Body::new)
    }
}

impl Deref for SseRequest {
    type Target = tidings_server::SseRequest;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl From<Parts> for SseRequest {
    fn from(parts: Parts) -> Self {
        Self(tidings_server::SseRequest::new(parts))
    }
}

impl<S: Sync> FromRequestParts<S> for SseRequest {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.clone().into())
    }
}
