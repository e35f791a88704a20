//! `RequestBuilder`: a request for an event stream, before it is sent.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName};
use http::{HeaderValue, Method, Response};
use tidings_proto::headers::LAST_EVENT_ID;
use tidings_proto::{Event, EventId, EventSourceState, Reconnect, StreamTypes};

use crate::credentials::bearer;
use crate::driver::Driver;
use crate::ending::{Ending, Until};
use crate::settings::{Settings, settings_methods};
use crate::template::{RequestTemplate, parse_header};
use crate::transport::{Transport, TransportError};
use crate::url::{IntoUrl, with_parameter};
use crate::{Error, Session};

/// A request for an event stream, before it is sent. [`open`](Self::open) sends it, and reports
/// anything that is wrong with it.
///
/// Each setting of [`SseClient`](crate::SseClient) is a setting here too, for this request alone.
///
/// ```no_run
/// # async fn read(client: tidings_client::SseClient) -> Result<(), tidings_client::Error> {
/// use std::time::Duration;
///
/// let request = client
///     .get("http://localhost:8080/events")
///     .query("topic", "news")
///     .last_event_id("42")
///     .idle_timeout(Duration::from_secs(60));
/// let mut session = request.open().await?;
/// # session.try_next().await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is sent before the request is opened"]
pub struct RequestBuilder {
    transport: Arc<dyn Transport>,
    settings: Settings,
    template: Result<RequestTemplate, Error>,
    last_event_id: Option<EventId>,
    /// `None` means only if it is a GET.
    may_be_repeated: Option<bool>,
    repeat_refusals: bool,
    ending: Option<Ending>,
}

impl RequestBuilder {
    pub(crate) fn new(
        transport: Arc<dyn Transport>,
        settings: Settings,
        headers: Result<HeaderMap, Error>,
        method: Method,
        url: impl IntoUrl,
    ) -> Self {
        let url = url.into_url().map_err(Error::invalid_request);
        Self {
            transport,
            settings,
            template: headers.and_then(|headers| {
                RequestTemplate::new(method, url?, headers).map_err(Error::invalid_request)
            }),
            last_event_id: None,
            may_be_repeated: None,
            repeat_refusals: false,
            ending: None,
        }
    }

    settings_methods!();

    /// Sends this header with every request of the session, in place of one of the same name.
    ///
    /// A header that you set is sent as it is. The request fills in only what you leave out: `Accept:
    /// text/event-stream`, `Cache-Control: no-cache` and, for a POST, PUT or PATCH without a body,
    /// `Content-Length: 0`. A `Last-Event-ID` is the same as [`last_event_id`](Self::last_event_id).
    ///
    /// A header that cannot be sent is an error of [`open`](Self::open): one that is invalid, a
    /// `Content-Length` other than that of the body, and any `Transfer-Encoding`. `Authorization`,
    /// `Cookie`, `Host`, `Proxy-Authorization` and values marked sensitive go to the origin of the
    /// request's URL, and to no other that a redirect leads to. A redirect that turns the request
    /// into a GET drops the headers that describe its body.
    pub fn header<N, V>(self, name: N, value: V) -> Self
    where
        HeaderName: TryFrom<N, Error: Into<http::Error>>,
        HeaderValue: TryFrom<V, Error: Into<http::Error>>,
    {
        match parse_header(name, value) {
            Ok((name, value)) if name == LAST_EVENT_ID => self.last_event_id_header(&value),
            Ok((name, value)) => self.change(|template| {
                template.headers.insert(name, value);
                Ok(())
            }),
            Err(error) => self.change(|_| Err(Error::invalid_request(error))),
        }
    }

    fn last_event_id_header(self, value: &HeaderValue) -> Self {
        match std::str::from_utf8(value.as_bytes()) {
            Ok(text) => self.last_event_id(text),
            Err(error) => self.change(|_| Err(Error::invalid_request(error))),
        }
    }

    /// Sends this token as `Authorization: Bearer …`.
    #[doc(alias = "bearerAuth")]
    pub fn bearer(self, token: impl AsRef<str>) -> Self {
        self.change(|template| {
            let value = bearer(token.as_ref()).map_err(Error::invalid_request)?;
            template.headers.insert(AUTHORIZATION, value);
            Ok(())
        })
    }

    /// Adds a parameter to the query of the URL, percent-encoded.
    #[doc(alias = "parameter")]
    pub fn query(self, name: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        self.change(|template| {
            let url = with_parameter(&template.asked_url, name.as_ref(), value.as_ref());
            template.set_url(url.map_err(Error::invalid_request)?);
            Ok(())
        })
    }

    /// Sends this body.
    pub fn body(self, body: impl Into<Bytes>) -> Self {
        self.change(|template| {
            template.body = body.into();
            Ok(())
        })
    }

    /// Sends this value as a JSON body, with the `Content-Type` of JSON.
    #[cfg(feature = "json")]
    pub fn json<T: serde::Serialize + ?Sized>(self, value: &T) -> Self {
        self.change(|template| {
            template.body = serde_json::to_vec(value)
                .map_err(Error::invalid_request)?
                .into();
            let json = HeaderValue::from_static("application/json");
            template.headers.insert(http::header::CONTENT_TYPE, json);
            Ok(())
        })
    }

    /// Whether the request may be sent again, so that its session reconnects as the policy decides.
    /// Default: `true` for a GET, otherwise `false`.
    ///
    /// With `false`, the request is sent once, as under
    /// [`Reconnect::off`](tidings_proto::Reconnect::off).
    pub fn may_be_repeated(mut self, may_be_repeated: bool) -> Self {
        self.may_be_repeated = Some(may_be_repeated);
        self
    }

    /// Whether a request that [may not be repeated](Self::may_be_repeated) is sent again until its
    /// stream begins: after a temporary refusal (408, 425, 429, 5xx), and after a failure before the
    /// response head. Default: `false`.
    ///
    /// The policy sets how often and when, and a refusal's `Retry-After` counts. Once the stream
    /// begins, the request is never sent again. A connection that breaks before the head may have
    /// reached the server, so set this only if the server can receive the request twice.
    ///
    /// ```no_run
    /// # async fn read(client: tidings_client::SseClient) -> Result<(), tidings_client::Error> {
    /// let request = client.post("http://localhost:8080/v1/chat").body("{}");
    /// let session = request.max_reconnection_attempts(3).repeat_refusals(true).open().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn repeat_refusals(mut self, repeat: bool) -> Self {
        self.repeat_refusals = repeat;
        self
    }

    /// Ends the session at the first event for which this returns `true`, such as an LLM's
    /// `[DONE]`.
    ///
    /// The session does not deliver that event; [`until_inclusive`](Self::until_inclusive) does. It
    /// closes the connection and does not reconnect. A stream that ends for good before that event
    /// is [`ErrorKind::Interrupted`](crate::ErrorKind::Interrupted), so that you can distinguish a
    /// cut answer from a whole one. A later call of either method replaces the condition.
    ///
    /// ```no_run
    /// # async fn read(client: tidings_client::SseClient) -> Result<(), tidings_client::Error> {
    /// let request = client.post("http://localhost:8080/v1/chat/completions").body("{}");
    /// let mut tokens = request.until(|event| event.text() == "[DONE]").open().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn until(mut self, is_last: impl Fn(&Event) -> bool + Send + Sync + 'static) -> Self {
        self.ending = Some(Ending {
            is_last: Arc::new(is_last) as Until,
            is_delivered: false,
        });
        self
    }

    /// Ends the session after the first event for which this returns `true`, such as an answer's
    /// `completed` with its usage.
    ///
    /// As [`until`](Self::until), but the session delivers that event as its last.
    ///
    /// ```no_run
    /// # async fn read(client: tidings_client::SseClient) -> Result<(), tidings_client::Error> {
    /// let request = client.post("http://localhost:8080/v1/responses").body("{}");
    /// let request = request.until_inclusive(|event| event.event_type() == "response.completed");
    /// let mut events = request.open().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn until_inclusive(
        mut self,
        is_last: impl Fn(&Event) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.ending = Some(Ending {
            is_last: Arc::new(is_last) as Until,
            is_delivered: true,
        });
        self
    }

    /// Resumes after this event: text, an integer or an [`EventId`]. An invalid ID is reported by
    /// [`open`](Self::open).
    ///
    /// The ID is sent as `Last-Event-ID` if a header can carry it ([`EventId::is_resumable`]).
    ///
    /// ```no_run
    /// # async fn read(client: tidings_client::SseClient) -> Result<(), tidings_client::Error> {
    /// let request = client.get("http://localhost:8080/events").last_event_id("2f-17");
    /// let session = request.open().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn last_event_id<I>(mut self, id: I) -> Self
    where
        I: TryInto<EventId, Error: Into<TransportError>>,
    {
        match id.try_into() {
            Ok(id) => {
                self.last_event_id = Some(id);
                self
            }
            Err(error) => self.change(|_| Err(Error::invalid_request(error))),
        }
    }

    fn change(mut self, change: impl FnOnce(&mut RequestTemplate) -> Result<(), Error>) -> Self {
        self.template = self.template.and_then(|mut template| {
            change(&mut template)?;
            Ok(template)
        });
        self
    }

    /// Sends the request, and returns when the server has begun a stream: by status 200 or, unless the
    /// request is a GET, by any 2xx status except 204 and 205; and by the media type
    /// `text/event-stream`, with any parameters. Of a list of media types the last valid one counts,
    /// as in [browsers](https://fetch.spec.whatwg.org/#concept-header-extract-mime-type).
    ///
    /// A first connection that fails is returned as the error, unless the policy covers it
    /// ([`Reconnect::standard`](tidings_proto::Reconnect::standard) does, and may wait for ever:
    /// watch it by [`on_lifecycle`](Self::on_lifecycle), or wrap `open` in a timeout). If the server
    /// answers 204, the session has no events.
    ///
    /// # Errors
    /// The request is invalid, the server refuses it, or the connection fails; see
    /// [`ErrorKind`](crate::ErrorKind).
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub async fn open(self) -> Result<Session, Error> {
        Session::open(self.validate()?.into_driver()).await
    }

    /// Sends the request, and returns a stream, or the whole response if the server answers with
    /// another one: for endpoints that answer with JSON or with a stream, as they choose.
    ///
    /// Any response with a 2xx status counts, 204 included, unless its media type is that of a stream.
    /// One in a content coding that the transport does not decode is an error, unless the request
    /// sets its own `Accept-Encoding`.
    /// Its body has at most [`max_response_bytes`](Self::max_response_bytes), and the
    /// [`idle_timeout`](Self::idle_timeout) applies to it. Unless you set an `Accept` header, the
    /// request accepts `text/event-stream` and `application/json`. A response that breaks off is an
    /// error, and is not requested again.
    ///
    /// ```no_run
    /// # async fn ask(client: tidings_client::SseClient) -> Result<(), tidings_client::Error> {
    /// use tidings_client::StreamOrResponse;
    ///
    /// let request = client.post("http://localhost:8080/mcp").body("{}");
    /// match request.open_or_response().await? {
    ///     StreamOrResponse::Stream(mut session) => {
    ///         while let Some(event) = session.try_next().await? {
    ///             println!("{}", event.text());
    ///         }
    ///     }
    ///     StreamOrResponse::Response(response) => {
    ///         println!("{}: {} bytes", response.status(), response.body().len());
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`open`](Self::open); and the response is
    /// [too large](crate::ErrorKind::ResponseTooLarge) or
    /// [breaks off](crate::ErrorKind::Interrupted).
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub async fn open_or_response(self) -> Result<StreamOrResponse, Error> {
        let request = self.change(|template| {
            template.accept_responses();
            Ok(())
        });
        let mut driver = request.validate()?.into_driver();
        driver.accept_responses();
        Session::open_or_response(driver).await
    }

    pub(crate) fn validate(self) -> Result<ValidRequest, Error> {
        let template = self.template?;
        template.check().map_err(Error::invalid_request)?;
        let may_be_repeated = self
            .may_be_repeated
            .unwrap_or(template.method == Method::GET);
        let mut settings = self.settings;
        let stream_types = settings.stream_types.clone();
        let stream_types = stream_types.map_err(Error::invalid_request)?;
        let effective = settings
            .effective_reconnect()
            .map_err(Error::invalid_request)?;
        let is_repeated_until_open = self.repeat_refusals && !may_be_repeated;
        let policy = match (may_be_repeated, is_repeated_until_open) {
            (true, _) => effective.policy,
            (false, true) => effective
                .policy
                .retry_first_connection(true)
                .retry_refusals(true),
            (false, false) => Reconnect::off(),
        };
        let is_sent_once = !may_be_repeated && !is_repeated_until_open;
        // From here on, the strategy in effect.
        settings.reconnect.strategy = effective.strategy.filter(|_| !is_sent_once);
        Ok(ValidRequest {
            template,
            transport: self.transport,
            settings,
            stream_types,
            policy,
            is_repeated_until_open,
            last_event_id: self.last_event_id,
            ending: self.ending,
        })
    }
}

/// The server's answer to [`RequestBuilder::open_or_response`].
#[allow(clippy::exhaustive_enums, reason = "there is no third kind of answer")]
pub enum StreamOrResponse {
    /// An event stream, open.
    Stream(Session),
    /// Another response, whole.
    Response(Response<Bytes>),
}

// Shows only the status of a response: its headers and its body may hold secrets.
impl fmt::Debug for StreamOrResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stream(session) => f.debug_tuple("Stream").field(session).finish(),
            Self::Response(response) => {
                f.debug_tuple("Response").field(&response.status()).finish()
            }
        }
    }
}

/// A request in which everything is valid.
#[derive(Clone)]
pub(crate) struct ValidRequest {
    transport: Arc<dyn Transport>,
    settings: Settings,
    stream_types: StreamTypes,
    policy: Reconnect,
    is_repeated_until_open: bool,
    template: RequestTemplate,
    last_event_id: Option<EventId>,
    ending: Option<Ending>,
}

impl ValidRequest {
    pub(crate) fn into_driver(self) -> Driver {
        let settings = self.settings;
        let mut decoder = settings.decoder();
        if let Some(id) = &self.last_event_id {
            decoder.set_last_event_id(id);
        }
        let seed = settings.seed.unwrap_or_else(|| fastrand::u64(..));
        // Without a hook, the same request would be refused again.
        let unauthorized_retries = match &settings.before_connect {
            Some(_) => settings.retry_unauthorized,
            None => 0,
        };
        let state = EventSourceState::new(self.policy, decoder, seed)
            .ask(settings.reconnect.strategy.is_some())
            .stream_types(self.stream_types)
            .accept_any_success(self.template.method != Method::GET)
            .repeat_after_open(!self.is_repeated_until_open)
            .retry_unauthorized(unauthorized_retries)
            .dedupe(settings.dedupe);
        Driver::new(state, self.transport, self.template, self.ending, settings)
    }
}

impl fmt::Debug for RequestBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBuilder")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
