//! `SseClient`: a transport, and the settings of the sessions opened over it.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, USER_AGENT};
use http::{HeaderValue, Method, Request, Response};
use http_body::Body;
use tidings_proto::headers::LAST_EVENT_ID;
use tower_service::Service;

use crate::Error;
use crate::credentials;
use crate::request::RequestBuilder;
use crate::service::{RequestBody, ServiceTransport};
use crate::settings::{Settings, settings_methods};
use crate::template::parse_header;
use crate::transport::{Transport, TransportError};
use crate::url::IntoUrl;

/// A client of event streams: a transport, and settings that each request inherits. Cheap to clone;
/// settings are changed by value.
///
/// ```
/// use std::time::Duration;
/// use tidings_client::{Reconnect, SseClient, Transport};
///
/// fn client(transport: impl Transport) -> SseClient {
///     SseClient::over(transport)
///         .reconnect(Reconnect::standard())
///         .idle_timeout(Duration::from_secs(60))
///         .user_agent("news/1.0")
/// }
/// ```
#[doc(alias = "HttpClient")]
#[doc(alias = "SSEConfig")]
#[doc(alias = "install")]
#[must_use = "settings are changed by value"]
#[derive(Clone)]
pub struct SseClient {
    transport: Arc<dyn Transport>,
    settings: Settings,
    headers: Result<HeaderMap, Error>,
}

impl SseClient {
    /// A client over this transport. It never reconnects, unless you set a
    /// [policy](Self::reconnect).
    pub fn over(transport: impl Transport) -> Self {
        Self {
            transport: Arc::new(transport),
            settings: Settings::default(),
            headers: Ok(HeaderMap::new()),
        }
    }

    /// A client over a tower service of `http` types: an `axum::Router` in the same process, or a
    /// client in layers of tower.
    ///
    /// ```
    /// use axum::{Router, http::header::CONTENT_TYPE, routing::get};
    /// use tidings_client::SseClient;
    ///
    /// let stream = ([(CONTENT_TYPE, "text/event-stream")], "data: hello\n\n");
    /// let client = SseClient::over_service(Router::new().route("/events", get(stream)));
    /// ```
    pub fn over_service<S, B>(service: S) -> Self
    where
        S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Future: Send,
        S::Error: Into<TransportError>,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<TransportError>,
    {
        Self::over(ServiceTransport::new(service))
    }

    settings_methods!();

    /// Sends this header with every request, unless the request sets another value for it. An
    /// invalid header is reported when a request is opened.
    ///
    /// Credentials go to the origin of each request's URL, and to no other that a redirect leads to;
    /// see [`RequestBuilder::header`]. A `Last-Event-ID` belongs to one request and is refused here:
    /// use [`RequestBuilder::last_event_id`].
    pub fn header<N, V>(self, name: N, value: V) -> Self
    where
        HeaderName: TryFrom<N, Error: Into<http::Error>>,
        HeaderValue: TryFrom<V, Error: Into<http::Error>>,
    {
        let header = parse_header(name, value).map_err(Error::invalid_request);
        self.set_header(header.and_then(|(name, value)| match name.as_str() {
            LAST_EVENT_ID => Err(Error::invalid_request(
                "Last-Event-ID belongs to one request: set it by RequestBuilder::last_event_id",
            )),
            _ => Ok((name, value)),
        }))
    }

    /// Sends this `User-Agent` with every request. Default: that of the transport. The direct
    /// transport and `tidings_reqwest::client()` send `tidings/<version>`.
    pub fn user_agent<V>(self, value: V) -> Self
    where
        HeaderValue: TryFrom<V, Error: Into<http::Error>>,
    {
        self.header(USER_AGENT, value)
    }

    /// Sends this token with every request, as `Authorization: Bearer …`, to the origin of the
    /// request's URL. A request may set another token, or have a name and a password in its URL.
    ///
    /// Open requests only to servers that may know the token.
    pub fn bearer(self, token: impl AsRef<str>) -> Self {
        let value = credentials::bearer(token.as_ref()).map_err(Error::invalid_request);
        self.set_header(value.map(|value| (AUTHORIZATION, value)))
    }

    fn set_header(mut self, header: Result<(HeaderName, HeaderValue), Error>) -> Self {
        self.headers = self.headers.and_then(|mut headers| {
            let (name, value) = header?;
            headers.insert(name, value);
            Ok(headers)
        });
        self
    }

    /// A GET of this URL. [`open`](RequestBuilder::open) sends it.
    #[doc(alias = "sse")]
    #[doc(alias = "sseSession")]
    pub fn get(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::GET, url)
    }

    /// A POST to this URL. [`open`](RequestBuilder::open) sends it, once, unless it
    /// [may be repeated](RequestBuilder::may_be_repeated).
    pub fn post(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::POST, url)
    }

    /// A request of any method. [`open`](RequestBuilder::open) sends it. Any method except GET is
    /// sent once, unless the request [may be repeated](RequestBuilder::may_be_repeated).
    pub fn request(&self, method: Method, url: impl IntoUrl) -> RequestBuilder {
        RequestBuilder::new(
            Arc::clone(&self.transport),
            self.settings.inherited(),
            self.headers.clone(),
            method,
            url,
        )
    }
}

impl fmt::Debug for SseClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SseClient")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
