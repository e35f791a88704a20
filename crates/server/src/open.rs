//! The opening of a session: a request and a handler become a response.

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
use crate::connection_lifetime::shortened;
use crate::cut::CutAfter;
use crate::limits::{LimitReached, Permit};
use crate::open_body::OpenBody;
use crate::response::{event_stream, no_stream};
use crate::session_info::SessionInfo;
use crate::shared::Shared;
use crate::{
    ConnectionLifetime, Drain, HandlerError, Limits, Session, SessionBody, SessionOptions,
    SseRequest, meters,
};

/// The reconnection time of most browsers: 3 s. Sent to a client that may have another from an earlier
/// session.
const USUAL_RETRY: Duration = Duration::from_secs(3);

impl SseRequest {
    /// Opens the stream. The head of the response leaves at once; then the handler runs while the
    /// body is read.
    ///
    /// The handler is one future for one client, without a task: the connection polls it, and drops it
    /// when the client disconnects. When the handler returns, the stream ends. When it fails or
    /// panics, the events it sent still leave, and then the response is cut.
    ///
    /// Before such a cut, only a client that is slower than the kernel's buffers may lose events. Over
    /// HTTP/1.1 it loses the bytes that hyper could not write yet, unless the request has
    /// [`Outgoing`](crate::Outgoing) in its extensions. Over HTTP/2 it loses the bytes that take longer
    /// than 5 s.
    ///
    /// The handler is not called for a HEAD request, which is answered with the head alone. It is not
    /// called either if the [options](Self::options) refuse the session: the answer is 429 over a
    /// limit, and 503 while the server drains, both with `Retry-After`.
    #[must_use]
    pub fn open<H, F>(self, handler: H) -> Response<SessionBody>
    where
        H: FnOnce(Session) -> F,
        F: Future<Output = Result<(), HandlerError>> + Send + 'static,
    {
        match self.admit() {
            Ok(permit) => self.open_admitted(permit, handler),
            Err(answer) => self.answer_without_session(answer),
        }
    }

    /// Opens the stream and sends the items of this [`Stream`] until it ends. Its first error cuts the
    /// response.
    ///
    /// The next item is polled after the previous one was queued, so the stream waits for a slow client.
    ///
    /// ```
    /// use std::convert::Infallible;
    /// use futures_util::{StreamExt, stream};
    /// use tidings_server::{Event, SessionBody, SseRequest};
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

    /// Counts a session towards its limits before it opens. An error is the answer to a request that
    /// opens none.
    pub(crate) fn admit(&self) -> Result<Option<Permit>, NoSession> {
        if self.parts.method == Method::HEAD {
            return Err(NoSession::HeadOnly);
        }
        if let Some(drain) = self.drain().filter(|drain| drain.is_started()) {
            return Err(refuse_draining(drain));
        }
        let Some(limits) = &self.options.limits else {
            return Ok(None);
        };
        limits.admit(&self.parts).map(Some).map_err(|reached| {
            meters::refuse(match reached {
                LimitReached::Total => "limit",
                LimitReached::PerKey => "limit_of_key",
            });
            let retry_after = limits.jittered_retry_after();
            NoSession::Status(StatusCode::TOO_MANY_REQUESTS, Some(retry_after))
        })
    }

    /// Waits for the future. If the server starts to drain first, returns the refusal.
    pub(crate) async fn unless_draining<T>(
        &self,
        future: impl Future<Output = T> + Unpin,
    ) -> Result<T, NoSession> {
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
        let ends_at = apply(&self.options, self.connection_end(), &shared);
        let drained = self.drain().map(|drain| {
            if self.options.may_finish {
                drain.await_session()
            } else {
                drain.register_session(&shared)
            }
        });
        if let Some(permit) = &permit {
            permit.handle_open(&shared, self.options.may_finish);
        }
        let last_event_id = self.last_event_id.take();
        let info = Arc::new(SessionInfo::new(&self.parts, last_event_id, ends_at));
        let session = Session::new(Arc::clone(&info), Arc::clone(&shared));
        let handler = Box::pin(handler(session));
        let body = OpenBody::new(info, shared, handler, span, permit, drained);
        let cut_after = CutAfter::of(&self.parts);
        self.respond(SessionBody::open(body).with_cut_after(cut_after))
    }

    pub(crate) fn answer_without_session(&self, answer: NoSession) -> Response<SessionBody> {
        match answer {
            NoSession::HeadOnly => self.respond(SessionBody::head_only()),
            NoSession::Status(status, retry_after) => no_stream(status, retry_after),
        }
    }

    /// When the lifetime of the connection closes the session.
    fn connection_end(&self) -> Option<Instant> {
        let lifetime = self.parts.extensions.get::<ConnectionLifetime>();
        let ends_at = lifetime.map(ConnectionLifetime::ends_at);
        ends_at.filter(|_| !self.options.may_finish)
    }

    fn drain(&self) -> Option<&Drain> {
        let drain = self.options.drain.as_ref();
        drain.or_else(|| self.parts.extensions.get())
    }

    /// A 200 with this body, compressed if the options allow it and the client asks for it.
    fn respond(&self, body: SessionBody) -> Response<SessionBody> {
        #[cfg(feature = "compression")]
        if self.options.compression {
            let coding = Coding::negotiate(&self.parts.headers);
            let body = match coding {
                None => body,
                Some(coding) => body.encoded(coding),
            };
            let mut response = event_stream(self.options.is_incremental, body);
            Coding::describe(coding, response.headers_mut());
            return response;
        }
        event_stream(self.options.is_incremental, body)
    }
}

/// The answer to a request whose session does not open.
#[derive(Debug, Clone, Copy)]
pub(crate) enum NoSession {
    /// The head of a stream, for a HEAD request.
    HeadOnly,
    /// This status, with this `Retry-After`.
    Status(StatusCode, Option<Duration>),
}

fn refuse_draining(drain: &Drain) -> NoSession {
    meters::refuse("drain");
    NoSession::Status(StatusCode::SERVICE_UNAVAILABLE, Some(drain.random_retry()))
}

/// Applies the options before the handler runs. Returns when the session's lifetime ends.
fn apply(
    options: &SessionOptions,
    connection_end: Option<Instant>,
    shared: &Shared,
) -> Option<Instant> {
    let now = Instant::now();
    let limits = options.limits.as_ref();
    let after_replacement = limits.is_some_and(Limits::is_replacing);
    let retry = options.retry.or(after_replacement.then_some(USUAL_RETRY));
    if let Some(retry) = retry {
        let sent = shared.try_send(Event::default().retry(retry).encode());
        if sent.is_err() {
            unreachable!("a new session is open, and its queue is empty");
        }
    }
    if let Some(heartbeat) = &options.heartbeat {
        shared.start_heartbeat(heartbeat.clone(), now.into_std());
    }
    // A lifetime that ends after the last instant of the clock never ends.
    let own_end = options
        .max_lifetime
        .and_then(|lifetime| now.checked_add(shortened(lifetime)));
    let ends_at = own_end.into_iter().chain(connection_end).min()?;
    shared.set_lifetime(ends_at.into_std());
    Some(ends_at)
}
