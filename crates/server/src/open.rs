//! Owns how a session begins: a request, a handler and what they share become a response.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_core::Stream;
use futures_util::StreamExt;
use futures_util::future::{Either, select};
use http::{Method, Response, StatusCode};
use tidings_proto::{EncodedEvents, Event};
use tokio::time::Instant;

#[cfg(feature = "compression")]
use crate::coding::Coding;
use crate::cut::Cut;
use crate::head::Head;
use crate::limits::{Permit, Refused};
use crate::open_body::OpenBody;
use crate::response::{no_stream, response};
use crate::shared::Shared;
use crate::{Drain, HandlerError, Session, SessionBody, SessionOptions, SseRequest, meters};

impl SseRequest {
    /// Opens the stream: its head leaves at once, then the handler runs as the body is read.
    ///
    /// The handler is one future for one client. It costs no task: the connection polls it, and
    /// drops it when the client is gone. When it returns, the stream ends; when it fails or
    /// panics, what it sent still leaves, and then the response is cut. Only a client that is behind
    /// by more than the kernel holds may lose something: over HTTP/1.1 what hyper could not write yet,
    /// unless the request has [`Outgoing`](crate::Outgoing) in its extensions, and over HTTP/2 what
    /// takes longer than 5 s.
    ///
    /// A HEAD request gets the head alone and the handler is not called. Nor is it where the
    /// [options](Self::options) refuse the session: the answer is 429 over a limit, and 503 while
    /// the server drains, both with `Retry-After`.
    #[must_use]
    pub fn open<H, F>(self, handler: H) -> Response<SessionBody>
    where
        H: FnOnce(Session) -> F,
        F: Future<Output = Result<(), HandlerError>> + Send + 'static,
    {
        match self.admit() {
            Ok(permit) => self.open_admitted(permit, handler),
            Err(answer) => self.answer(answer),
        }
    }

    /// Opens the stream and sends what another one yields, until that ends; its first error cuts
    /// the response. For those who have a [`Stream`] already.
    ///
    /// It is asked for more only while the client reads.
    ///
    /// ```
    /// use std::convert::Infallible;
    /// use futures_util::{StreamExt, stream};
    /// use tidings_proto::Event;
    /// use tidings_server::{SessionBody, SseRequest};
    ///
    /// fn events(request: http::Request<()>) -> http::Response<SessionBody> {
    ///     let (parts, _) = request.into_parts();
    ///     let numbers = stream::iter(0..3).map(|n| Ok::<_, Infallible>(Event::new("tick").id(n)));
    ///     SseRequest::new(parts).stream(numbers)
    /// }
    /// ```
    #[must_use]
    pub fn stream<S, T, E>(self, events: S) -> Response<SessionBody>
    where
        S: Stream<Item = Result<T, E>> + Send + 'static,
        T: Into<EncodedEvents> + Send,
        E: Into<HandlerError> + Send,
    {
        self.open(async move |session: Session| {
            let mut events = pin!(events);
            while let Some(event) = events.next().await {
                let event: EncodedEvents = event.map_err(Into::into)?.into();
                session.send(event).await?;
            }
            Ok(())
        })
    }

    /// Counts a session before anything is done for it, or says how the request is answered instead.
    pub(crate) fn admit(&self) -> Result<Option<Permit>, Answer> {
        if self.parts.method == Method::HEAD {
            return Err(Answer::HeadOnly);
        }
        if let Some(drain) = self.drain().filter(|drain| drain.is_started()) {
            return Err(refuse_draining(drain));
        }
        let Some(limits) = &self.options.limits else {
            return Ok(None);
        };
        limits.admit(&self.parts).map(Some).map_err(|refused| {
            meters::refuse(match refused {
                Refused::InAll => "limit",
                Refused::OfKey => "limit_of_key",
            });
            let retry_after = limits.jittered_retry_after();
            Answer::NoStream(StatusCode::TOO_MANY_REQUESTS, Some(retry_after))
        })
    }

    /// What this yields, or a refusal as soon as the server drains.
    pub(crate) async fn unless_draining<T>(
        &self,
        future: impl Future<Output = T> + Unpin,
    ) -> Result<T, Answer> {
        let Some(drain) = self.drain() else {
            return Ok(future.await);
        };
        match select(pin!(drain.started()), future).await {
            Either::Left(_) => Err(refuse_draining(drain)),
            Either::Right((found, _)) => Ok(found),
        }
    }

    pub(crate) fn open_admitted<H, F>(
        mut self,
        permit: Option<Permit>,
        handler: H,
    ) -> Response<SessionBody>
    where
        H: FnOnce(Session) -> F,
        F: Future<Output = Result<(), HandlerError>> + Send + 'static,
    {
        let span = tracing::debug_span!("session", path = self.parts.uri.path());
        let shared = Arc::new(Shared::new());
        let ends_at = begin(&shared, &self.options);
        let drained = self.drain().map(|drain| {
            if self.options.may_finish {
                drain.await_session()
            } else {
                drain.register_session(&shared)
            }
        });
        let last_event_id = self.last_event_id.take();
        let head = Arc::new(Head::new(&self.parts, last_event_id, ends_at));
        let session = Session::new(Arc::clone(&head), Arc::clone(&shared));
        let handler = Box::pin(handler(session));
        let body = OpenBody::new(head, shared, handler, span, permit, drained);
        let cut = Cut::of(&self.parts);
        self.respond(SessionBody::open(body).with_cut(cut))
    }

    pub(crate) fn answer(&self, answer: Answer) -> Response<SessionBody> {
        match answer {
            Answer::HeadOnly => self.respond(SessionBody::head_only()),
            Answer::NoStream(status, retry_after) => no_stream(status, retry_after),
        }
    }

    fn drain(&self) -> Option<&Drain> {
        let drain = self.options.drain.as_ref();
        drain.or_else(|| self.parts.extensions.get())
    }

    /// A 200 with this body, in the coding that the client asks for where the options allow one.
    fn respond(&self, body: SessionBody) -> Response<SessionBody> {
        #[cfg(feature = "compression")]
        if self.options.compression {
            let coding = Coding::negotiate(&self.parts.headers);
            let body = match coding {
                None => body,
                Some(coding) => body.encoded(coding),
            };
            let mut response = response(self.parts.version, body);
            Coding::describe(coding, response.headers_mut());
            return response;
        }
        response(self.parts.version, body)
    }
}

/// What a request is answered whose session does not open.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Answer {
    /// The head of a stream, which is all that a HEAD asks for.
    HeadOnly,
    /// This, and that it may be asked for again after this time.
    NoStream(StatusCode, Option<Duration>),
}

fn refuse_draining(drain: &Drain) -> Answer {
    meters::refuse("drain");
    Answer::NoStream(StatusCode::SERVICE_UNAVAILABLE, Some(drain.random_retry()))
}

/// What happens before the handler runs. Says when the session ends by itself.
fn begin(shared: &Shared, options: &SessionOptions) -> Option<Instant> {
    let now = Instant::now();
    if let Some(retry) = options.retry {
        // There is room at the beginning.
        shared.try_send(Event::default().retry(retry).encode()).ok();
    }
    if let Some(heartbeat) = &options.heartbeat {
        shared.start_heartbeat(heartbeat.clone(), now.into_std());
    }
    let lifetime = options.max_lifetime?;
    let lifetime = lifetime.saturating_sub(lifetime.mul_f64(0.2 * fastrand::f64()));
    // What no clock reaches is no end.
    let ends_at = now.checked_add(lifetime)?;
    shared.set_lifetime(ends_at.into_std());
    Some(ends_at)
}
