//! Owns `RequestBuilder`: a request for an event stream, before it is sent.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderName};
use http::{HeaderValue, Method};
use tidings_proto::headers::LAST_EVENT_ID;
use tidings_proto::{Event, EventId, EventSourceState, Reconnect};

use crate::credentials::bearer;
use crate::driver::{Driver, Until};
use crate::settings::{Settings, settings_methods};
use crate::template::RequestTemplate;
use crate::transport::Transport;
use crate::url::{IntoUrl, with_parameter};
use crate::{Error, Session};

/// A request for an event stream. What is wrong with it is told by [`open`](Self::open).
#[must_use = "nothing is sent before it is opened"]
pub struct RequestBuilder {
    transport: Arc<dyn Transport>,
    settings: Settings,
    template: Result<RequestTemplate, Error>,
    last_event_id: Option<EventId>,
    may_be_repeated: bool,
    until: Option<Until>,
}

impl RequestBuilder {
    pub(crate) fn new(
        transport: Arc<dyn Transport>,
        settings: Settings,
        method: Method,
        url: impl IntoUrl,
    ) -> Self {
        let url = url.into_url().map_err(Error::invalid_request);
        Self {
            transport,
            settings,
            template: url.map(|url| RequestTemplate::new(method, url)),
            last_event_id: None,
            may_be_repeated: false,
            until: None,
        }
    }

    settings_methods!();

    /// Sends this header with every request, in place of one of the same name.
    ///
    /// A `Last-Event-ID` is what the first request resumes after. `Accept` and `Cache-Control` are
    /// what they must be for an event stream, whatever is set here; no header is ever sent twice.
    /// `Authorization`, `Cookie`, `Proxy-Authorization` and values marked sensitive go to the
    /// origin of the request's URL, and nowhere else that a redirect leads.
    pub fn header<N, V>(self, name: N, value: V) -> Self
    where
        HeaderName: TryFrom<N, Error: Into<http::Error>>,
        HeaderValue: TryFrom<V, Error: Into<http::Error>>,
    {
        let name = HeaderName::try_from(name).map_err(|error| Error::invalid_request(error.into()));
        let value =
            HeaderValue::try_from(value).map_err(|error| Error::invalid_request(error.into()));
        match (name, value) {
            (Ok(name), Ok(value)) if name == LAST_EVENT_ID => self.last_event_id_header(&value),
            (Ok(name), Ok(value)) => self.change(|template| {
                template.headers.insert(name, value);
                Ok(())
            }),
            (Err(error), _) | (_, Err(error)) => self.change(|_| Err(error)),
        }
    }

    fn last_event_id_header(mut self, value: &HeaderValue) -> Self {
        let text = std::str::from_utf8(value.as_bytes()).map_err(Error::invalid_request);
        match text.and_then(|text| EventId::new(text).map_err(Error::invalid_request)) {
            Ok(id) => {
                self.last_event_id = Some(id);
                self
            }
            Err(error) => self.change(|_| Err(error)),
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

    /// Adds a parameter to the query of the URL.
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

    /// Sends this value as JSON, with the `Content-Type` that says so.
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

    /// Lets a request that is no GET be sent again, so that its session reconnects as the policy
    /// says; without this it is sent once, as under
    /// [`Reconnect::off`](tidings_proto::Reconnect::off).
    pub fn may_be_repeated(mut self) -> Self {
        self.may_be_repeated = true;
        self
    }

    /// Ends the session at the first event of which this is true, such as an LLM's `[DONE]`.
    ///
    /// That event is not handed out: it is the end, and nothing reconnects after it. A stream that
    /// ends for good before it is [`ErrorKind::EndedEarly`](crate::ErrorKind::EndedEarly), which
    /// tells a cut answer from a whole one.
    ///
    /// ```no_run
    /// # async fn hear(client: tidings_client::SseClient) -> Result<(), tidings_client::Error> {
    /// let request = client.post("http://localhost:8080/v1/chat/completions").body("{}");
    /// let mut tokens = request.until(|event| event.text() == "[DONE]").open().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn until(mut self, is_last: impl Fn(&Event) -> bool + Send + Sync + 'static) -> Self {
        self.until = Some(Arc::new(is_last));
        self
    }

    fn change(mut self, change: impl FnOnce(&mut RequestTemplate) -> Result<(), Error>) -> Self {
        self.template = self.template.and_then(|mut template| {
            change(&mut template)?;
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
    /// ([`Reconnect::standard`](tidings_proto::Reconnect::standard) does, and may wait for ever;
    /// [`on_lifecycle`](Self::on_lifecycle) tells what it waits for). A server that answers 204 has
    /// nothing to say: that is a session without events.
    ///
    /// # Errors
    /// The request cannot be made, the server refuses it, or the connection fails; see
    /// [`ErrorKind`](crate::ErrorKind).
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub async fn open(self) -> Result<Session, Error> {
        Session::open(self.into_subscription()?.into_driver()).await
    }

    pub(crate) fn into_subscription(self) -> Result<Subscription, Error> {
        Ok(Subscription {
            template: self.template?,
            transport: self.transport,
            settings: self.settings,
            last_event_id: self.last_event_id,
            may_be_repeated: self.may_be_repeated,
            until: self.until,
        })
    }
}

/// A request that can be made.
#[derive(Clone)]
pub(crate) struct Subscription {
    transport: Arc<dyn Transport>,
    settings: Settings,
    template: RequestTemplate,
    last_event_id: Option<EventId>,
    may_be_repeated: bool,
    until: Option<Until>,
}

impl Subscription {
    pub(crate) fn into_driver(self) -> Driver {
        let settings = self.settings;
        let is_sent_once = self.template.method != Method::GET && !self.may_be_repeated;
        let reconnect = if is_sent_once {
            Reconnect::off()
        } else {
            settings.policy()
        };
        let mut decoder = settings.decoder();
        if let Some(id) = &self.last_event_id {
            decoder.set_last_event_id(id);
        }
        let seed = settings.seed.unwrap_or_else(|| fastrand::u64(..));
        let mut state = EventSourceState::new(reconnect, decoder, seed);
        if settings.strategy.is_some() && !is_sent_once {
            state = state.ask(true);
        }
        if settings.dedupe {
            state = state.dedupe(true);
        }
        Driver::new(state, self.transport, self.template, self.until, settings)
    }
}

impl fmt::Debug for RequestBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBuilder")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
