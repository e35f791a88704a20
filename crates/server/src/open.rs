//! The opening of a session: a request and a handler become a response.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use futures_core::Stream;
use futures_util::StreamExt;
use http::{Method, Response, StatusCode};
use tidings_proto::EncodedEvents;
use tokio::time::Instant;

#[cfg(feature = "compression")]
use crate::coding::Coding;
use crate::cut::CutAfter;
use crate::ending::OpenSession;
use crate::handler_source::HandlerSource;
use crate::limits::{LimitReached, Permit};
use crate::open_body::{Counted, OpenBody};
use crate::outbox::Outbox;
use crate::refusal::{NoSession, Refusal};
use crate::response::event_stream;
use crate::session_info::{MAX_HEAD_BYTES, SessionInfo, kept_bytes};
use crate::shared::Shared;
use crate::source::Source;
use crate::{
    ConnectionLifetime, Drain, HandlerError, Session, SessionBody, SseRequest, StreamResponse,
    meters,
};

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
    /// called either if the session is refused:
    ///
    /// * Over a limit of the [options](Self::options) the answer is 429 with `Retry-After`.
    /// * While the server drains, it is to [come back later](crate#come-back-later).
    /// * A head over 32 KiB is answered 431, because a session keeps a copy of it. A server may have a
    ///   lower limit of its own.
    ///
    /// Each refusal has a short text for a person.
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
        self.check_head()?;
        if let Some(drain) = self.started_drain() {
            return Err(self.refuse_draining(drain));
        }
        if self.parts.method == Method::HEAD {
            return Err(NoSession::HeadOnly);
        }
        let Some(limits) = &self.options.limits else {
            return Ok(None);
        };
        limits.admit(&self.parts).map(Some).map_err(|reached| {
            let (reason, text) = match reached {
                LimitReached::Total => ("limit", "too many streams are open"),
                LimitReached::PerKey => {
                    ("limit_of_key", "too many streams of this client are open")
                }
            };
            meters::refuse(reason);
            let retry_after = limits.jittered_retry_after();
            if limits.come_back_later {
                return self.come_back_later(StatusCode::TOO_MANY_REQUESTS, retry_after, text);
            }
            NoSession::Refused(Refusal {
                status: StatusCode::TOO_MANY_REQUESTS,
                retry_after: Some(retry_after),
                text: text.into(),
            })
        })
    }

    /// Refuses a head that is too large to be kept.
    pub(crate) fn check_head(&self) -> Result<(), NoSession> {
        let id = self.last_event_id().map_or(0, |id| id.len());
        if id <= MAX_HEAD_BYTES && kept_bytes(&self.parts) <= MAX_HEAD_BYTES {
            return Ok(());
        }
        meters::refuse("head");
        Err(NoSession::Refused(Refusal {
            status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            retry_after: None,
            text: "the head of the request is larger than 32 KiB".into(),
        }))
    }

    fn open_admitted<H, F>(mut self, permit: Option<Permit>, handler: H) -> Response<SessionBody>
    where
        H: FnOnce(Session) -> F,
        F: Future<Output = Result<(), HandlerError>> + Send + 'static,
    {
        let outbox = self.outbox();
        let ends_at = outbox.ends_at().map(Into::into);
        let shared = Arc::new(Shared::new(outbox));
        let counted = self.count(permit, Arc::clone(&shared));
        let last_event_id = self.last_event_id.take();
        let info = Arc::new(SessionInfo::new(&self.parts, last_event_id, ends_at));
        let session = Session::new(Arc::clone(&info), Arc::clone(&shared));
        let handler = Box::pin(handler(session));
        self.respond_with(HandlerSource::new(info, shared, handler), counted)
    }

    /// The outbox of the session, as the options want it.
    pub(crate) fn outbox(&self) -> Outbox {
        Outbox::open(&self.options, self.connection_end())
    }

    /// Counts a session that opens. From now on a drain or a newer session may end it.
    pub(crate) fn count(
        &self,
        permit: Option<Permit>,
        session: Arc<impl OpenSession + 'static>,
    ) -> Counted {
        let session: Arc<dyn OpenSession> = session;
        let drained = self.drain().map(|drain| {
            if self.options.may_finish {
                drain.await_session()
            } else {
                drain.register_session(&session)
            }
        });
        if let Some(permit) = &permit {
            permit.handle_open(&session, self.options.may_finish);
        }
        Counted::new(permit, drained)
    }

    /// The stream of an open session.
    pub(crate) fn respond_with(
        &self,
        source: impl Source + 'static,
        counted: Counted,
    ) -> Response<SessionBody> {
        let span = tracing::debug_span!("session", path = self.parts.uri.path());
        let body = OpenBody::new(source, span, counted);
        let cut_after = CutAfter::of(&self.parts);
        self.respond(SessionBody::open(body).with_cut_after(cut_after))
    }

    /// When the lifetime of the connection closes the session.
    fn connection_end(&self) -> Option<Instant> {
        let lifetime = self.parts.extensions.get::<ConnectionLifetime>();
        let ends_at = lifetime.map(ConnectionLifetime::ends_at);
        ends_at.filter(|_| !self.options.may_finish)
    }

    pub(crate) fn drain(&self) -> Option<&Drain> {
        let drain = self.options.drain.as_ref();
        drain.or_else(|| self.parts.extensions.get())
    }

    pub(crate) fn started_drain(&self) -> Option<&Drain> {
        self.drain().filter(|drain| drain.is_started())
    }

    /// A 200 with this body, compressed if the options allow it and the client asks for it.
    pub(crate) fn respond(&self, body: SessionBody) -> Response<SessionBody> {
        #[cfg(feature = "compression")]
        if self.options.compression
            && let Some(coding) = Coding::negotiate(&self.parts.headers)
        {
            let mut response = self.respond_uncompressed(body.encoded(coding));
            coding.describe(response.headers_mut());
            return response;
        }
        self.respond_uncompressed(body)
    }

    /// A 200 with this body.
    pub(crate) fn respond_uncompressed(&self, body: SessionBody) -> Response<SessionBody> {
        let kind = StreamResponse::new(self.parts.extensions.get());
        #[cfg_attr(
            not(feature = "compression"),
            expect(unused_mut, reason = "only compression adds a header")
        )]
        let mut response = event_stream(self.options.is_incremental, kind, body);
        #[cfg(feature = "compression")]
        if self.options.compression {
            Coding::vary(response.headers_mut());
        }
        response
    }
}
