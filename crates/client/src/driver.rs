//! `Driver`: performs the actions of a session's state machine. The only place that waits.

use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::response::Parts;
use http::{Response, StatusCode};
use tidings_proto::{Event, EventId, EventSourceAction, EventSourceFailure, EventSourceState};
#[cfg(feature = "json")]
use tidings_proto::{Gap, Position};

use crate::Error;
use crate::attempt::AttemptFuture;
use crate::buffer::Buffer;
use crate::ending::Ending;
use crate::error::EndedEarly;
use crate::lifecycle::{ConnectionState, Lifecycle};
use crate::refusal::Refusal;
use crate::response_reader::ResponseReader;
use crate::settings::Settings;
use crate::strategy::{DecisionFuture, OwnedContext};
use crate::template::RequestTemplate;
use crate::timer::Timer;
use crate::transport::{ConnectTimeout, ResponseBody, ResponseFuture, Transport};
use crate::url::host_and_port;

mod network;

/// How many steps without an event the session takes in one poll. A body that is always ready, or
/// attempts that fail at once, would otherwise block the other work of their task.
const STEPS_IN_A_ROW: usize = 32;

pub(crate) struct Driver {
    pub(crate) state: EventSourceState,
    transport: Arc<dyn Transport>,
    pub(crate) template: RequestTemplate,
    settings: Settings,
    ending: Option<Ending>,
    connection: Connection,
    /// Of the wait for the next attempt, for the response head, or for bytes.
    timer: Timer,
    /// The head of the last response.
    pub(crate) response: Option<Parts>,
    /// Why the last connection or attempt failed; `None` after a regular end, or once another
    /// connection is open.
    pub(crate) error: Option<Error>,
    buffer: Option<Buffer>,
    /// Whether a first response that is no stream is for the caller.
    accepts_responses: bool,
    /// That response.
    accepted_response: Option<Response<Bytes>>,
    span: tracing::Span,
    is_over: bool,
    /// Whether an event may end the session, or be reported as a gap.
    looks_at_events: bool,
    /// Set to the last event ID when the session is dropped, for code that has given the session away.
    id_at_drop: Option<IdAtDrop>,
}

/// The last event ID of a session that was dropped; unset until then.
pub(crate) type IdAtDrop = Arc<OnceLock<Option<EventId>>>;

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(id) = &self.id_at_drop {
            id.get_or_init(|| self.state.last_event_id().cloned());
        }
    }
}

enum Connection {
    Closed,
    /// The `before_connect` hook runs; then the request is sent with this ID.
    Preparing(AttemptFuture, Option<EventId>),
    Connecting(ResponseFuture),
    Open(ResponseBody),
    /// The body of a refusal is read before its error is reported.
    Refused(Refusal),
    /// A response that is no stream is read for the caller.
    Response(ResponseReader),
    /// The strategy decides whether there is another attempt.
    Deciding(DecisionFuture),
}

impl Driver {
    pub(crate) fn new(
        state: EventSourceState,
        transport: Arc<dyn Transport>,
        template: RequestTemplate,
        ending: Option<Ending>,
        settings: Settings,
    ) -> Self {
        let span = tracing::warn_span!(
            "session",
            method = %template.method,
            host = template.url().host(),
            port = template.url().port_u16(),
        );
        #[cfg(feature = "json")]
        let looks_at_events = ending.is_some() || settings.gaps;
        #[cfg(not(feature = "json"))]
        let looks_at_events = ending.is_some();
        let buffer = Buffer::new(settings.buffer_policy, settings.max_event_bytes);
        Self {
            state,
            transport,
            template,
            settings,
            ending,
            connection: Connection::Closed,
            timer: Timer::default(),
            response: None,
            error: None,
            buffer,
            accepts_responses: false,
            accepted_response: None,
            span,
            is_over: false,
            looks_at_events,
            id_at_drop: None,
        }
    }

    /// Will hold the last event ID once the session is dropped.
    pub(crate) fn id_at_drop(&mut self) -> IdAtDrop {
        Arc::clone(self.id_at_drop.get_or_insert_default())
    }

    /// Reads a first response that is no stream, in place of an error.
    pub(crate) fn accept_responses(&mut self) {
        self.accepts_responses = true;
    }

    /// The response that the server sent in place of a stream.
    pub(crate) fn take_accepted_response(&mut self) -> Option<Response<Bytes>> {
        self.accepted_response.take()
    }

    /// Ready once a stream is open, or the session is over.
    pub(crate) fn poll_opened(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        for _ in 0..STEPS_IN_A_ROW {
            if self.state.is_open() || self.is_over {
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_step(cx))?;
        }
        yield_to_others(cx)
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
        yield_to_others(cx)
    }

    /// `poll_item` for a session in which an event may be the last or a gap. Apart, as looking at an
    /// event moves it.
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
        yield_to_others(cx)
    }

    /// Whether the session delivers the event. Ends the session at its last one.
    fn is_for_caller(&mut self, event: &Event) -> bool {
        if let Some(ending) = &self.ending
            && (ending.is_last)(event)
        {
            let is_delivered = ending.is_delivered;
            self.close();
            self.report(Lifecycle::Ended);
            return is_delivered;
        }
        #[cfg(feature = "json")]
        if self.reports_gap(event) {
            return false;
        }
        true
    }

    #[cfg(feature = "json")]
    fn reports_gap(&self, event: &Event) -> bool {
        let has_position = |id: &EventId| id.as_str().parse::<Position>().is_ok();
        if !self.settings.gaps
            || event.event_type() != Gap::EVENT_NAME
            || !event.id.as_ref().is_some_and(has_position)
        {
            return false;
        }
        let gap = Gap::from_event(event);
        if let Some(gap) = &gap {
            self.report(Lifecycle::Gap(gap));
        }
        gap.is_some()
    }

    pub(crate) fn close(&mut self) {
        self.state.handle_close();
        self.end();
    }

    /// Drops the connection, the attempt or the wait. The next poll delivers the events received
    /// before, and then connects.
    pub(crate) fn reconnect(&mut self) {
        if self.is_over {
            return;
        }
        self.state.handle_reconnect(network::now());
        self.connection = Connection::Closed;
        self.timer = Timer::default();
        // Unless it failed before, and the next poll returns that error.
        if self.state.poll_timeout().is_some() {
            self.error = None;
        }
    }

    pub(crate) fn connection_state(&self) -> ConnectionState {
        let attempt = self.state.attempt();
        match (&self.connection, self.state.poll_timeout()) {
            _ if self.is_over => ConnectionState::Closed,
            (Connection::Open(_), _) => ConnectionState::Open,
            (Connection::Deciding(_), _) => ConnectionState::Lost { attempt },
            (_, Some(until)) => ConnectionState::Waiting { attempt, until },
            (
                Connection::Closed
                | Connection::Preparing(..)
                | Connection::Connecting(_)
                | Connection::Refused(_)
                | Connection::Response(_),
                None,
            ) => ConnectionState::Connecting { attempt },
        }
    }

    fn end(&mut self) {
        self.is_over = true;
        self.connection = Connection::Closed;
        self.timer = Timer::default();
    }

    fn report(&self, step: Lifecycle<'_>) {
        // A step may be reported outside `poll_step`, and its trace must name the host too.
        self.span.in_scope(|| step.trace(self.error.as_ref()));
        if let Some(hook) = &self.settings.on_lifecycle {
            hook(step);
        }
    }

    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let _entered = self.must_enter_span().then(|| self.span.clone().entered());
        if let Connection::Refused(refusal) = &mut self.connection {
            let text = ready!(refusal.poll_text(cx));
            self.handle_refusal(text);
        }
        match self.state.poll_action() {
            Some(action) => Poll::Ready(self.act(action)),
            None => self.poll_io(cx),
        }
    }

    /// Whether a step is polled within the span. To enter it costs as much as a chunk, so a session that
    /// reads enters it only for traces at `debug` of the transport; [`report`](Self::report) enters it
    /// anyway.
    fn must_enter_span(&self) -> bool {
        let is_reading = matches!(self.connection, Connection::Open(_));
        !self.span.is_disabled() && (!is_reading || tracing::enabled!(tracing::Level::DEBUG))
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
                let Ok(status) = StatusCode::from_u16(status) else {
                    unreachable!("the status of a redirect is that of a response");
                };
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
                let Some(strategy) = &self.settings.reconnect.strategy else {
                    unreachable!("the state machine asks only if there is a strategy");
                };
                let context = OwnedContext {
                    attempt,
                    error: self.error.clone(),
                    reconnection_time,
                    retry_after,
                };
                let deciding = Arc::clone(&strategy.0).decide(context);
                self.connection = Connection::Deciding(deciding);
                Ok(())
            }
            EventSourceAction::Skipped(event) => {
                self.report(Lifecycle::Skipped {
                    size: event.size(),
                    limit: event.limit(),
                    // With dedupe, the decoder does not know the ID of an earlier connection.
                    id: self.state.last_event_id(),
                });
                Ok(())
            }
            EventSourceAction::Fail(failure) => {
                let error = match (failure, self.error.take()) {
                    (EventSourceFailure::EventTooLarge(source), _) => {
                        Error::event_too_large(self.server(), source)
                    }
                    (EventSourceFailure::OutOfAttempts, _) => Error::out_of_attempts(self.server()),
                    (_, Some(error)) => error,
                    (failure, None) => {
                        unreachable!("the driver keeps the error of a connection: {failure:?}")
                    }
                };
                Err(self.fail(error))
            }
            EventSourceAction::Finish => self.finish(),
        }
    }

    /// The stream came to its end.
    fn finish(&mut self) -> Result<(), Error> {
        if self.ending.is_some() {
            let error = Error::interrupted(self.server(), EndedEarly.into());
            return Err(self.fail(error));
        }
        self.end();
        self.report(Lifecycle::Ended);
        Ok(())
    }

    /// Ends the session with this error.
    pub(crate) fn fail(&mut self, error: Error) -> Error {
        let buffer = self.buffer.as_ref().map(Buffer::text);
        let error = error.at(self.state.last_event_id(), buffer);
        self.close();
        self.report(Lifecycle::Failed { error: &error });
        error
    }

    /// Host and port of the current request, for an error.
    fn server(&self) -> Option<String> {
        host_and_port(self.template.url())
    }

    /// Lets the `before_connect` hook change the request, if there is one, and connects.
    fn prepare(&mut self, last_event_id: Option<EventId>) {
        self.template.begin();
        let attempt = self.state.attempt();
        self.report(Lifecycle::Connecting { attempt });
        if let Some(id) = self.state.last_event_id()
            && last_event_id.is_none()
            && !id.as_str().is_empty()
        {
            self.report(Lifecycle::NotResumable { id });
        }
        match &self.settings.before_connect {
            Some(hook) => {
                let changing = hook(self.template.attempt(attempt, self.error.clone()));
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

    fn report_lost(&self) {
        self.report(Lifecycle::Lost {
            error: self.error.as_ref(),
            unfinished: self.state.is_unfinished(),
        });
        self.report_waiting();
    }

    fn report_waiting(&self) {
        if let Some(until) = self.state.poll_timeout() {
            self.report(Lifecycle::Waiting {
                attempt: self.state.attempt(),
                delay: until.saturating_duration_since(network::now()),
            });
        }
    }
}

/// Lets other work of the same task run before the rest of this.
fn yield_to_others<T>(cx: &Context<'_>) -> Poll<T> {
    cx.waker().wake_by_ref();
    Poll::Pending
}
