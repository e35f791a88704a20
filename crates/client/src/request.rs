//! Owns `RequestBuilder`: a request, and how it is made anew for each connection.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL, HeaderMap, HeaderName};
use http::{HeaderValue, Method, Request, Uri};
use tidings_proto::headers::{EVENT_STREAM, LAST_EVENT_ID, NO_CACHE};
use tidings_proto::{EventId, EventSourceState};

use crate::settings::Settings;
use crate::transport::Transport;
use crate::{Error, Session};

/// What can name a URL: text, or a [`Uri`].
pub trait IntoUrl {
    /// The URL.
    ///
    /// # Errors
    /// It is none.
    fn into_url(self) -> Result<Uri, http::Error>;
}

impl IntoUrl for Uri {
    fn into_url(self) -> Result<Uri, http::Error> {
        Ok(self)
    }
}

impl IntoUrl for &str {
    fn into_url(self) -> Result<Uri, http::Error> {
        // A fragment is the client's own business and never sent.
        let url = self.split_once('#').map_or(self, |(url, _)| url);
        Ok(url.parse::<Uri>()?)
    }
}

impl IntoUrl for String {
    fn into_url(self) -> Result<Uri, http::Error> {
        self.as_str().into_url()
    }
}

impl IntoUrl for &String {
    fn into_url(self) -> Result<Uri, http::Error> {
        self.as_str().into_url()
    }
}

/// A request for an event stream. What is wrong with it is told by [`open`](Self::open).
#[must_use = "nothing is sent before it is opened"]
pub struct RequestBuilder {
    transport: Arc<dyn Transport>,
    settings: Settings,
    template: Result<RequestTemplate, Error>,
    last_event_id: Option<EventId>,
}

impl RequestBuilder {
    pub(crate) fn new(
        transport: Arc<dyn Transport>,
        settings: Settings,
        method: Method,
        url: impl IntoUrl,
    ) -> Self {
        let template = url.into_url().map_err(Error::invalid_request);
        let template = template.map(|url| RequestTemplate {
            method,
            url,
            headers: HeaderMap::new(),
        });
        Self {
            transport,
            settings,
            template,
            last_event_id: None,
        }
    }

    /// Sends this header with every request, in place of one of the same name.
    ///
    /// `Accept`, `Cache-Control` and `Last-Event-ID` are the client's own and never sent twice:
    /// the first two are what they must be, the last is set by
    /// [`last_event_id`](Self::last_event_id).
    pub fn header<N, V>(mut self, name: N, value: V) -> Self
    where
        HeaderName: TryFrom<N, Error: Into<http::Error>>,
        HeaderValue: TryFrom<V, Error: Into<http::Error>>,
    {
        self.template = self.template.and_then(|mut template| {
            let name = HeaderName::try_from(name).map_err(Into::into);
            let value = HeaderValue::try_from(value).map_err(Into::into);
            template.headers.insert(
                name.map_err(Error::invalid_request)?,
                value.map_err(Error::invalid_request)?,
            );
            Ok(template)
        });
        self
    }

    /// Sends this token as `Authorization: Bearer …`.
    #[doc(alias = "bearerAuth")]
    pub fn bearer(mut self, token: impl AsRef<str>) -> Self {
        self.template = self.template.and_then(|mut template| {
            let value = HeaderValue::try_from(format!("Bearer {}", token.as_ref()));
            let mut value = value.map_err(Error::invalid_request)?;
            value.set_sensitive(true);
            template.headers.insert(AUTHORIZATION, value);
            Ok(template)
        });
        self
    }

    /// Resumes after this event: sent as `Last-Event-ID` if a header can carry it
    /// ([`EventId::is_resumable`]).
    pub fn last_event_id(mut self, id: impl Into<EventId>) -> Self {
        self.last_event_id = Some(id.into());
        self
    }

    /// Connects, and returns at the first good head of a response.
    ///
    /// A first connection that fails is the error, unless the policy covers it
    /// ([`Reconnect::standard`](tidings_proto::Reconnect::standard) does, and may wait for ever).
    /// A server that answers 204 has nothing to say: that is a session without events.
    ///
    /// # Errors
    /// The request cannot be made, the server refuses it, or the connection fails; see
    /// [`ErrorKind`](crate::ErrorKind).
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub async fn open(self) -> Result<Session, Error> {
        let mut decoder = self.settings.decoder();
        if let Some(id) = &self.last_event_id {
            decoder.set_last_event_id(id);
        }
        let seed = self.settings.seed.unwrap_or_else(|| fastrand::u64(..));
        let state = EventSourceState::new(self.settings.reconnect, decoder, seed);
        let mut session = Session::new(state, self.transport, self.template?);
        session.opened().await?;
        Ok(session)
    }
}

impl fmt::Debug for RequestBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBuilder")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// What every request of a session is made from.
#[derive(Debug)]
pub(crate) struct RequestTemplate {
    method: Method,
    url: Uri,
    headers: HeaderMap,
}

impl RequestTemplate {
    pub(crate) fn request(&self, last_event_id: Option<&EventId>) -> Request<Bytes> {
        let mut request = Request::new(Bytes::new());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.url.clone();
        let mut headers = self.headers.clone();
        headers.insert(ACCEPT, HeaderValue::from_static(EVENT_STREAM));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(NO_CACHE));
        headers.remove(LAST_EVENT_ID);
        let id = last_event_id.and_then(|id| HeaderValue::from_bytes(id.as_bytes()).ok());
        if let Some(id) = id {
            headers.insert(HeaderName::from_static(LAST_EVENT_ID), id);
        }
        *request.headers_mut() = headers;
        request
    }
}
