//! Owns `Driver`: does what a session's state machine says; the only place that sleeps.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::response::Parts;
use http::{HeaderValue, Response, StatusCode};
use http_body::{Body, Frame};
use tidings_proto::{Event, EventId, EventSourceAction, EventSourceState, ResponseHead};
#[cfg(feature = "json")]
use tidings_proto::{Gap, Position};
use tokio::time::Instant;

use crate::Error;
use crate::attempt::{Attempt, Changing};
use crate::buffer::Buffer;
use crate::lifecycle::{ConnectionState, Lifecycle};
use crate::refusal::Refusal;
use crate::settings::Settings;
use crate::strategy::{Deciding, Question};
use crate::template::RequestTemplate;
use crate::timer::{Timer, after};
use crate::transport::{
    ConnectError, ConnectTimeout, Connecting, FinalUrl, ResponseBody, Transport, TransportError,
};

/// How many steps without an event are made before others have their turn: a body that is always
/// ready, or attempts that fail at once, would else keep their task for themselves.
const STEPS_IN_A_ROW: usize = 32;

pub(crate) struct Driver {
    pub(crate) state: EventSourceState,
    transport: Arc<dyn Transport>,
    pub(crate) template: RequestTemplate,
    settings: Settings,
    until: Option<Until>,
    connection: Connection,
    /// Of the wait for the next attempt, for the head, or for bytes.
    timer: Timer,
    /// The head of the last response.
    pub(crate) response: Option<Parts>,
    /// Why the last connection was lost; `None` if it ended as it should, or another is open.
    pub(crate) error: Option<Error>,
    buffer: Option<Buffer>,
    span: tracing::Span,
    is_over: bool,
    /// Whether an event may end the session, or be told as a gap.
    looks_at_events: bool,
}

/// Whether an event is the one that ends its stream.
pub(crate) type Until = Arc<dyn Fn(&Event) -> bool + Send + Sync>;

enum Connection {
    Closed,
    /// The caller may change the request.
    Preparing(Changing, Option<EventId>),
    Connecting(Connecting),
    Open(ResponseBody),
    /// Its error is not told before its body is read.
    Refused(Refusal),
    /// The caller says whether there will be another.
    Deciding(Deciding),
}

impl Driver {
    pub(crate) fn new(
        state: EventSourceState,
        transport: Arc<dyn Transport>,
        template: RequestTemplate,
        until: Option<Until>,
        settings: Settings,
    ) -> Self {
        let span = tracing::debug_span!(
            "session",
            method = %template.method,
            host = template.url().host(),
            port = template.url().port_u16(),
        );
        #[cfg(feature = "json")]
        let looks_at_events = until.is_some() || settings.gaps;
        #[cfg(not(feature = "json"))]
        let looks_at_events = until.is_some();
        let buffer = Buffer::new(settings.buffer_policy, settings.max_event_bytes);
        Self {
            state,
            transport,
            template,
            settings,
            until,
            connection: Connection::Closed,
            timer: Timer::default(),
            response: None,
            error: None,
            buffer,
            span,
            is_over: false,
            looks_at_events,
        }
    }

    /// Ready once the first good head is there.
    pub(crate) fn poll_opened(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        for _ in 0..STEPS_IN_A_ROW {
            if self.state.is_open() || self.is_over {
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_step(cx))?;
        }
        give_way(cx)
    }

    // Always: an event that is built where it is used is not moved, and the processor need not wait
    // for it.
    #[inline(always)]
    pub(crate) fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Event, Error>>> {
        if self.looks_at_events {
            return self.poll_item_for_caller(cx);
        }
        for _ in 0..STEPS_IN_A_ROW {
            if self.is_over {
                return Poll::Ready(None);
            }
            if let Some(event) = self.state.poll_event() {
                return Poll::Ready(Some(Ok(event)));
            }
            if let Err(error) = ready!(self.poll_step(cx)) {
                return Poll::Ready(Some(Err(error)));
            }
        }
        give_way(cx)
    }

    /// As `poll_item`, where an event may be the last or a gap: apart, as looking at one moves it.
    #[inline(never)]
    fn poll_item_for_caller(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Event, Error>>> {
        for _ in 0..STEPS_IN_A_ROW {
            if self.is_over {
                return Poll::Ready(None);
            }
            if let Some(event) = self.state.poll_event() {
                if self.is_for_caller(&event) {
                    return Poll::Ready(Some(Ok(event)));
                }
            } else if let Err(error) = ready!(self.poll_step(cx)) {
                return Poll::Ready(Some(Err(error)));
            }
        }
        give_way(cx)
    }

    /// Whether it is neither the one that ends the stream nor a gap.
    fn is_for_caller(&mut self, event: &Event) -> bool {
        if self.until.as_ref().is_some_and(|until| until(event)) {
            self.close();
            self.tell(Lifecycle::Ended);
            return false;
        }
        #[cfg(feature = "json")]
        if self.tells_gap(event) {
            return false;
        }
        true
    }

    #[cfg(feature = "json")]
    fn tells_gap(&self, event: &Event) -> bool {
        let has_position = |id: &EventId| id.as_str().parse::<Position>().is_ok();
        if !self.settings.gaps || !event.id.as_ref().is_some_and(has_position) {
            return false;
        }
        let gap = Gap::from_event(event);
        if let Some(gap) = &gap {
            self.tell(Lifecycle::Gap(gap));
        }
        gap.is_some()
    }

    pub(crate) fn close(&mut self) {
        self.state.handle_close();
        self.end();
    }

    pub(crate) fn state(&self) -> ConnectionState {
        let attempt = self.state.attempt();
        match (&self.connection, self.state.poll_timeout()) {
            _ if self.is_over => ConnectionState::Closed,
            (Connection::Open(_), _) => ConnectionState::Open,
            (Connection::Deciding(_), _) => ConnectionState::Lost { attempt },
            (_, Some(until)) => ConnectionState::Waiting { attempt, until },
            _ => ConnectionState::Connecting { attempt },
        }
    }

    fn end(&mut self) {
        self.is_over = true;
        self.connection = Connection::Closed;
        self.timer = Timer::default();
    }

    fn tell(&self, lifecycle: Lifecycle<'_>) {
        lifecycle.trace();
        if let Some(hook) = &self.settings.on_lifecycle {
            hook(lifecycle);
        }
    }

    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        // To enter a span that nobody sees costs as much as a chunk.
        let _entered = (!self.span.is_disabled()).then(|| self.span.clone().entered());
        if let Connection::Refused(refusal) = &mut self.connection {
            let text = ready!(refusal.poll_text(cx));
            self.handle_refusal(text);
        }
        match self.state.poll_action() {
            Some(action) => Poll::Ready(self.act(action)),
            None => self.poll_io(cx),
        }
    }

    fn act(&mut self, action: EventSourceAction) -> Result<(), Error> {
        match action {
            EventSourceAction::Connect { last_event_id } => {
                self.prepare(last_event_id);
                Ok(())
            }
            EventSourceAction::Redirect {
                status,
                location,
                last_event_id,
            } => {
                let status = StatusCode::from_u16(status).unwrap_or_default();
                if let Err(error) = self.template.redirect(status, &location) {
                    return Err(self.fail(Error::invalid_redirect(error)));
                }
                self.connect(last_event_id.as_ref());
                Ok(())
            }
            EventSourceAction::Decide {
                attempt,
                reconnection_time,
                retry_after,
            } => {
                let question = Question {
                    attempt,
                    error: self.error.take(),
                    reconnection_time,
                    retry_after,
                };
                // Without a strategy nothing is asked.
                if let Some(strategy) = &self.settings.strategy {
                    let deciding = Arc::clone(&strategy.0).decide(question);
                    self.connection = Connection::Deciding(deciding);
                }
                Ok(())
            }
            EventSourceAction::Fail(failure) => {
                let error = self.error.take();
                Err(self.fail(error.unwrap_or_else(|| Error::of(failure, None))))
            }
            EventSourceAction::Finish if self.until.is_some() => {
                Err(self.fail(Error::ended_early()))
            }
            EventSourceAction::Finish => {
                self.end();
                self.tell(Lifecycle::Ended);
                Ok(())
            }
        }
    }

    /// The session is over with this error.
    pub(crate) fn fail(&mut self, error: Error) -> Error {
        let buffer = self.buffer.as_ref().map(Buffer::text);
        let error = error.at(self.state.last_event_id(), buffer);
        self.close();
        self.tell(Lifecycle::Failed { error: &error });
        error
    }

    /// Lets the caller change the request, if it wants to, and connects.
    fn prepare(&mut self, last_event_id: Option<EventId>) {
        self.template.begin();
        let attempt = self.state.attempt();
        self.tell(Lifecycle::Connecting { attempt });
        if let Some(id) = self.state.last_event_id()
            && last_event_id.is_none()
            && !id.as_str().is_empty()
        {
            self.tell(Lifecycle::NotResumable { id });
        }
        match &self.settings.before_connect {
            Some(hook) => {
                let changing = hook(self.template.attempt(attempt));
                self.connection = Connection::Preparing(changing, last_event_id);
            }
            None => self.connect(last_event_id.as_ref()),
        }
    }

    fn connect(&mut self, last_event_id: Option<&EventId>) {
        let mut request = self.template.request(last_event_id);
        if let Some(timeout) = self.settings.timeouts.connect {
            request.extensions_mut().insert(ConnectTimeout(timeout));
        }
        self.connection = Connection::Connecting(self.transport.connect(request));
    }

    /// Waits for whatever comes next, and tells the state machine.
    fn poll_io(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match &mut self.connection {
            Connection::Open(body) => {
                if let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) {
                    self.timer.clear();
                    self.handle_frame(frame);
                    return Poll::Ready(Ok(()));
                }
                self.poll_timeout(cx, self.settings.timeouts.idle).map(Ok)
            }
            Connection::Connecting(connecting) => {
                if let Poll::Ready(response) = connecting.as_mut().poll(cx) {
                    self.timer.clear();
                    return Poll::Ready(self.handle_connected(response));
                }
                let timeout = self.settings.timeouts.response;
                self.poll_timeout(cx, timeout).map(Ok)
            }
            Connection::Preparing(changing, last_event_id) => {
                let attempt = ready!(changing.as_mut().poll(cx));
                let last_event_id = last_event_id.take();
                Poll::Ready(self.handle_attempt(attempt, last_event_id.as_ref()))
            }
            Connection::Deciding(deciding) => {
                let (delay, error) = ready!(deciding.as_mut().poll(cx));
                self.connection = Connection::Closed;
                self.error = error;
                self.state.handle_decision(delay, now());
                self.tell_waiting();
                Poll::Ready(Ok(()))
            }
            Connection::Closed | Connection::Refused(_) => self.poll_reconnection(cx).map(Ok),
        }
    }

    /// Nothing came yet: a network error once that has been so for too long.
    fn poll_timeout(&mut self, cx: &mut Context<'_>, timeout: Option<Duration>) -> Poll<()> {
        let Some(timeout) = timeout else {
            return Poll::Pending;
        };
        ready!(self.timer.poll(cx, || after(timeout)));
        self.timer.clear();
        self.handle_network_error(TimedOut(timeout).into());
        Poll::Ready(())
    }

    /// Waits until the state machine wants to connect again.
    fn poll_reconnection(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(until) = self.state.poll_timeout() else {
            // Closed, with nothing to wait for and nothing to do: over.
            self.end();
            return Poll::Ready(());
        };
        ready!(self.timer.poll(cx, || until.into()));
        self.timer.clear();
        self.state.handle_timeout(now());
        Poll::Ready(())
    }

    fn handle_attempt(
        &mut self,
        attempt: Result<Attempt, TransportError>,
        last_event_id: Option<&EventId>,
    ) -> Result<(), Error> {
        match attempt {
            Ok(attempt) => {
                self.template.change(attempt);
                self.connect(last_event_id);
                Ok(())
            }
            Err(error) => Err(self.fail(Error::before_connect(error))),
        }
    }

    fn handle_connected(
        &mut self,
        response: Result<Response<ResponseBody>, ConnectError>,
    ) -> Result<(), Error> {
        match response {
            Ok(response) => self.handle_response(response),
            Err(ConnectError::Network(error)) => self.handle_network_error(error),
            Err(ConnectError::InvalidRequest(error)) => {
                return Err(self.fail(if self.template.is_redirected() {
                    Error::invalid_redirect(error)
                } else {
                    Error::invalid_request(error)
                }));
            }
        }
        Ok(())
    }

    fn handle_response(&mut self, response: Response<ResponseBody>) {
        let (mut head, body) = response.into_parts();
        detach(&mut head);
        if let Some(FinalUrl(url)) = head.extensions.get() {
            self.template.follow(url.clone());
        }
        let header = |name| {
            let value = head.headers.get(name)?;
            Some(String::from_utf8_lossy(value.as_bytes()))
        };
        let content_type = header(CONTENT_TYPE);
        let (location, retry_after) = (header(LOCATION), header(RETRY_AFTER));
        let what_matters = ResponseHead::new(head.status.as_u16())
            .content_type(content_type.as_deref())
            .location(location.as_deref())
            .retry_after(retry_after.as_deref());
        self.state.handle_response(what_matters, now(), wall_time());
        self.connection = Connection::Closed;
        if self.state.is_open() {
            self.connection = Connection::Open(body);
            self.template.handle_open();
            self.error = None;
            if let Some(buffer) = &mut self.buffer {
                buffer.clear();
            }
            self.tell(Lifecycle::Open { response: &head });
        } else if let Some(failure) = self.state.failure().cloned() {
            self.error = Some(Error::of(failure, None));
            let refusal = Refusal::new(body, self.settings.max_error_body_bytes);
            self.connection = Connection::Refused(refusal);
        }
        self.response = Some(head);
    }

    /// The body of a refusal was read as far as it came.
    fn handle_refusal(&mut self, text: String) {
        self.connection = Connection::Closed;
        if let (Some(error), Some(head)) = (&mut self.error, &self.response) {
            error.set_response(Response::from_parts(head.clone(), text));
        }
        self.tell_lost();
    }

    fn handle_frame(&mut self, frame: Option<Result<Frame<Bytes>, TransportError>>) {
        match frame {
            Some(Ok(frame)) => {
                if let Ok(chunk) = frame.into_data() {
                    if let Some(buffer) = &mut self.buffer {
                        buffer.push(&chunk);
                    }
                    self.state.handle_chunk(chunk);
                }
            }
            Some(Err(error)) => self.handle_network_error(error),
            None => {
                self.connection = Connection::Closed;
                self.state.handle_end(now());
                self.tell_lost();
            }
        }
    }

    fn handle_network_error(&mut self, error: TransportError) {
        self.connection = Connection::Closed;
        self.state.handle_network_error(now());
        self.error = self
            .state
            .failure()
            .map(|failure| Error::of(failure.clone(), Some(error)));
        self.tell_lost();
    }

    fn tell_lost(&self) {
        let error = self.error.as_ref();
        self.tell(Lifecycle::Lost { error });
        self.tell_waiting();
    }

    fn tell_waiting(&self) {
        if let Some(until) = self.state.poll_timeout() {
            self.tell(Lifecycle::Waiting {
                attempt: self.state.attempt(),
                delay: until.saturating_duration_since(now()),
            });
        }
    }
}

/// There is more to do, but others of the same task are to have their turn.
fn give_way<T>(cx: &Context<'_>) -> Poll<T> {
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// Copies the values of headers that are slices of what was read: as long as a session keeps them,
/// its transport could not use that buffer again, and a quiet session would hold two.
fn detach(head: &mut Parts) {
    for value in head.headers.values_mut() {
        if let Ok(mut copy) = HeaderValue::from_bytes(value.as_bytes()) {
            copy.set_sensitive(value.is_sensitive());
            *value = copy;
        }
    }
}

/// The server was silent for this long.
#[derive(Debug)]
struct TimedOut(Duration);

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server was silent for {:?}", self.0)
    }
}

impl std::error::Error for TimedOut {}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

#[allow(
    clippy::disallowed_methods,
    reason = "tokio has no wall clock; a date in a Retry-After is held against it"
)]
fn wall_time() -> std::time::SystemTime {
    std::time::SystemTime::now()
}
