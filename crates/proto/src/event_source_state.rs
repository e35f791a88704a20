//! `EventSourceState`: the next step of a client, over all connections of a session.

use std::fmt;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

use crate::dedupe::Dedupe;
use crate::headers::content_codings;
use crate::incoming::Incoming;
use crate::instant::after;
use crate::jitter::Jitter;
use crate::reconnect::{NextAttempt, parse_retry_after};
use crate::{
    Decoder, EventId, EventSourceAction, EventSourceFailure, EventTooLarge, Reconnect,
    ResponseHead, StreamTypes,
};

mod events;

/// The maximum redirects in a row: 20, as in browsers. The next one is
/// [`EventSourceFailure::TooManyRedirects`].
///
/// Spec: [HTTP-redirect fetch](https://fetch.spec.whatwg.org/#http-redirect-fetch).
pub const MAX_REDIRECTS: u32 = 20;

/// A client session over all of its connections. It decodes the stream, keeps the last event ID,
/// and decides when to connect, to wait and to stop.
///
/// It does no I/O. Its driver does, in this order: take events from
/// [`poll_event`](Self::poll_event) until it returns `None`; do what
/// [`poll_action`](Self::poll_action) returns, and begin anew; otherwise wait for the network or for
/// [`poll_timeout`](Self::poll_timeout), and report the result to the `handle_*` method for it.
///
/// ```
/// use std::time::{Duration, Instant, SystemTime};
/// use tidings_proto::{Decoder, EventSourceAction, EventSourceState, Reconnect, ResponseHead};
///
/// let now = Instant::now();
/// let mut state = EventSourceState::new(Reconnect::standard(), Decoder::new(), 42);
/// assert_eq!(state.poll_action(), Some(EventSourceAction::Connect { last_event_id: None }));
/// let head = ResponseHead::new(200).content_type(Some("text/event-stream"));
/// state.handle_response(head, now, SystemTime::now());
/// state.handle_chunk("id: 7\ndata: hello\n\n".into());
/// assert_eq!(state.poll_event().unwrap().text(), "hello");
///
/// state.handle_end(now);
/// let later = state.poll_timeout().unwrap();
/// assert_eq!(later - now, Duration::from_secs(3));
/// state.handle_timeout(later);
/// assert_eq!(state.poll_action(), Some(EventSourceAction::Connect { last_event_id: Some(7.into()) }));
/// ```
///
/// Spec: [9.2.3 Processing model](https://html.spec.whatwg.org/multipage/server-sent-events.html#sse-processing-model).
pub struct EventSourceState {
    reconnect: Reconnect,
    jitter: Jitter,
    decoder: Decoder,
    phase: Phase,
    /// The next action, until the driver takes it.
    action: Option<EventSourceAction>,
    /// A skipped event, until the driver takes it. It comes before the action.
    skipped: Option<EventTooLarge>,
    /// The received part of the stream that the driver has not taken yet.
    incoming: Incoming,
    /// As of the last event that the driver took.
    last_event_id: Option<EventId>,
    /// The version of the decoder's last event ID, as of the end of the last chunk that was read.
    id_version: u64,
    /// Attempts in this outage.
    attempts: u32,
    /// Redirects followed in this attempt.
    redirects: u32,
    /// Attempts in a row that a 401 led to.
    unauthorized_retries: u32,
    max_unauthorized_retries: u32,
    opened_before: bool,
    /// Whether the request may be sent again after a stream was open.
    repeats_after_open: bool,
    /// Whether the driver decides on each attempt, in place of the policy.
    asks: bool,
    stream_types: StreamTypes,
    /// Whether a stream may open with a 2xx status other than 200.
    accepts_any_success: bool,
    dedupe: Option<Dedupe>,
    /// Whether this connection is known to have sent an event, an ID or a comment.
    is_successful: bool,
    /// Whether the next event needs no look: there is no dedupe, and `is_successful` is set.
    reads_plainly: bool,
    /// The version of the decoder's last event ID when the connection opened.
    id_version_at_open: u64,
    /// Whether the last connection ended within an event.
    is_unfinished: bool,
    failure: Option<EventSourceFailure>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Connecting,
    OpenSince(Instant),
    Deciding,
    WaitingUntil(Instant),
    Over,
}

impl EventSourceState {
    /// A session that begins with a connection.
    ///
    /// The first request sends the last event ID of the decoder, if one is set. The seed determines
    /// the jitter of the waits.
    #[must_use]
    pub fn new(reconnect: Reconnect, mut decoder: Decoder, seed: u64) -> Self {
        let last_event_id = decoder.owned_last_event_id();
        let id_version = decoder.last_event_id_version();
        let mut state = Self {
            reconnect,
            jitter: Jitter::new(seed),
            decoder,
            phase: Phase::Over,
            action: None,
            skipped: None,
            incoming: Incoming::default(),
            last_event_id,
            id_version,
            attempts: 0,
            redirects: 0,
            unauthorized_retries: 0,
            max_unauthorized_retries: 0,
            opened_before: false,
            repeats_after_open: true,
            asks: false,
            stream_types: StreamTypes::new(),
            accepts_any_success: false,
            dedupe: None,
            is_successful: false,
            reads_plainly: false,
            id_version_at_open: id_version,
            is_unfinished: false,
            failure: None,
        };
        state.connect();
        state
    }

    /// Whether the driver decides when to reconnect, by [`EventSourceAction::Decide`], in place of
    /// the policy. Default: `false`.
    ///
    /// The policy still decides whether a first connection that fails may be tried again. A refusal
    /// leads to a decision only if its status [may be temporary](is_temporary_status).
    #[must_use]
    pub fn ask(mut self, ask: bool) -> Self {
        self.asks = ask;
        self
    }

    /// Whether events that were received before are dropped. Default: `false`.
    ///
    /// An event was received before if its ID is a [`Position`](crate::Position) in the same epoch
    /// as the last event and not after it. The event at the decoder's last event ID counts as
    /// received. After a [`Gap`](crate::Gap) the order starts anew.
    #[must_use]
    pub fn dedupe(mut self, dedupe: bool) -> Self {
        self.dedupe = dedupe.then(|| Dedupe::after(self.decoder.last_event_id()));
        self
    }

    /// Whether the request may be sent again after a stream was open. Default: `true`.
    ///
    /// With `false`, only failures and refusals before a stream opens lead to another attempt, as
    /// the policy allows. Then the end of the stream ends the session, and a cut fails it. This is
    /// for a request that has effects, such as a prompt to a language model.
    #[must_use]
    pub fn repeat_after_open(mut self, repeat: bool) -> Self {
        self.repeats_after_open = repeat;
        self
    }

    /// The media types of the responses that are streams. Default: `text/event-stream` alone.
    #[must_use]
    pub fn stream_types(mut self, types: StreamTypes) -> Self {
        self.stream_types = types;
        self
    }

    /// Whether a stream opens with any 2xx status except 204 and 205, which have no body. Default:
    /// `false`, which is status 200 alone, as the standard asks of a GET.
    ///
    /// This is for requests of other methods: many frameworks answer a POST with 201.
    #[must_use]
    pub fn accept_any_success(mut self, accept: bool) -> Self {
        self.accepts_any_success = accept;
        self
    }

    /// The maximum attempts in a row that answers of 401 lead to. Default: 0.
    ///
    /// The first such attempt waits for nothing. Each further one waits as the policy says, or for
    /// the reconnection time if the policy allows no attempt. None needs permission from the policy
    /// or the driver. The next 401 fails the session. The count starts anew when a stream opens and
    /// when the policy decides on an attempt.
    #[must_use]
    pub fn retry_unauthorized(mut self, attempts: u32) -> Self {
        self.max_unauthorized_retries = attempts;
        self
    }

    /// The next action. Each action is returned once.
    #[must_use]
    pub fn poll_action(&mut self) -> Option<EventSourceAction> {
        if let Some(skipped) = self.skipped.take() {
            return Some(EventSourceAction::Skipped(skipped));
        }
        self.action.take()
    }

    /// The time at which the driver must call [`handle_timeout`](Self::handle_timeout).
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::WaitingUntil(until) => Some(until),
            Phase::Connecting | Phase::OpenSince(_) | Phase::Deciding | Phase::Over => None,
        }
    }

    /// Reports the head of the response. Ignored unless the state machine waits for one.
    ///
    /// The wall-clock time is for a `Retry-After` that is a date.
    pub fn handle_response(&mut self, head: ResponseHead<'_>, now: Instant, wall: SystemTime) {
        if self.phase != Phase::Connecting {
            return;
        }
        match (head.status, head.location) {
            (status, _) if self.may_be_stream(status) => self.handle_success(head, now),
            (204, _) => self.finish(EventSourceAction::Finish),
            (status @ (301 | 302 | 303 | 307 | 308), Some(location)) if !location.is_empty() => {
                self.handle_redirect(status, location, now);
            }
            (401, _) if self.unauthorized_retries < self.max_unauthorized_retries => {
                self.handle_unauthorized(retry_after(head, wall), now);
            }
            (status, _) if self.may_retry(status) => {
                let failure = EventSourceFailure::Status(status);
                self.handle_loss(Some(failure), retry_after(head, wall), now);
            }
            (status, _) => self.fail(EventSourceFailure::Status(status)),
        }
    }

    /// Whether a response with this status is a stream if its headers are those of one.
    fn may_be_stream(&self, status: u16) -> bool {
        match status {
            200 => true,
            204 | 205 => false,
            201..=299 => self.accepts_any_success,
            _ => false,
        }
    }

    fn handle_success(&mut self, head: ResponseHead<'_>, now: Instant) {
        if !self.is_stream_type(head.content_type) {
            let found = head.content_type.map(str::to_owned);
            return self.fail(EventSourceFailure::ContentType(found));
        }
        let coding = head.content_encoding.map(content_codings);
        match coding.and_then(Iterator::last) {
            Some(coding) => self.fail(EventSourceFailure::ContentEncoding(coding)),
            None => self.handle_open(now),
        }
    }

    fn handle_open(&mut self, now: Instant) {
        self.phase = Phase::OpenSince(now);
        self.opened_before = true;
        self.unauthorized_retries = 0;
        if let Some(dedupe) = &mut self.dedupe {
            dedupe.handle_open();
            // Then an event has an ID only if this connection sent one.
            self.decoder.clear_last_event_id();
        }
        self.is_successful = false;
        self.reads_plainly = false;
        self.id_version_at_open = self.decoder.last_event_id_version();
    }

    /// Tries again after a 401. The first such attempt in a row waits for nothing, as a fresh token
    /// usually helps. The others wait, so that a server that refuses every token is not flooded.
    fn handle_unauthorized(&mut self, retry_after: Option<Duration>, now: Instant) {
        self.attempts = self.attempts.saturating_add(1);
        let delay = match self.unauthorized_retries {
            0 => Duration::ZERO,
            _ => {
                let time = self.reconnect.time(self.decoder.reconnection_time());
                self.policy_delay(retry_after).unwrap_or(time)
            }
        };
        self.unauthorized_retries += 1;
        self.failure = Some(EventSourceFailure::Status(401));
        self.phase = Phase::WaitingUntil(after(now, delay));
    }

    fn may_retry(&self, status: u16) -> bool {
        (self.asks || self.reconnect.retries_refusals()) && is_temporary_status(status)
    }

    fn handle_redirect(&mut self, status: u16, location: &str, now: Instant) {
        if self.redirects == MAX_REDIRECTS {
            let failure = EventSourceFailure::TooManyRedirects;
            return self.handle_loss(Some(failure), None, now);
        }
        self.redirects += 1;
        self.action = Some(EventSourceAction::Redirect {
            status,
            location: location.to_owned(),
            last_event_id: self.resumable_id(),
        });
    }

    /// Reports a part of the body. Ignored unless the connection is open.
    ///
    /// Events of an earlier chunk that the driver has not taken are decoded and wait in memory.
    pub fn handle_chunk(&mut self, chunk: Bytes) {
        self.settle();
        if self.is_open() {
            self.incoming.push(chunk);
        }
    }

    /// Reports that the body ended as HTTP specifies.
    pub fn handle_end(&mut self, now: Instant) {
        self.handle_loss(None, None, now);
    }

    /// Reports that the connection failed: [`EventSourceFailure::Connect`] before a response head,
    /// [`EventSourceFailure::Interrupted`] after it.
    pub fn handle_network_error(&mut self, now: Instant) {
        let failure = if self.is_open() {
            EventSourceFailure::Interrupted
        } else {
            EventSourceFailure::Connect
        };
        self.handle_loss(Some(failure), None, now);
    }

    /// Reports that the driver could not make the request: a failed attempt, as
    /// [`EventSourceFailure::Request`]. Ignored unless the state machine waits for a response.
    pub fn handle_request_error(&mut self, now: Instant) {
        if self.phase == Phase::Connecting {
            self.handle_loss(Some(EventSourceFailure::Request), None, now);
        }
    }

    /// Answers [`EventSourceAction::Decide`]: the wait before the attempt, or `None` to end the
    /// session. Ignored at any other time.
    pub fn handle_decision(&mut self, delay: Option<Duration>, now: Instant) {
        if self.phase == Phase::Deciding {
            self.wait_or_end(delay, now);
        }
    }

    /// Reports that time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_some_and(|until| until <= now) {
            self.connect();
        }
    }

    /// Drops the connection or the wait, and connects again now. Neither the policy nor the driver
    /// is asked. Ignored once the session is over.
    ///
    /// Received events that the driver has not taken are still returned, and the new connection
    /// resumes after them: the wait ends at `now`, so take the events first, as always.
    pub fn handle_reconnect(&mut self, now: Instant) {
        self.settle();
        match self.phase {
            Phase::Over => return,
            Phase::Connecting | Phase::OpenSince(_) => self.count_attempt(now),
            Phase::Deciding | Phase::WaitingUntil(_) => {}
        }
        self.action = None;
        self.failure = None;
        self.phase = Phase::WaitingUntil(now);
    }

    /// Ends the session. Received events that the driver has not taken are dropped.
    pub fn handle_close(&mut self) {
        self.incoming = Incoming::default();
        self.skipped = None;
        if self.phase != Phase::Over {
            self.finish(EventSourceAction::Finish);
        }
    }

    /// The last event ID, as of the last event that the driver took.
    ///
    /// A block that has only an ID counts once the events before it are taken.
    #[must_use]
    pub fn last_event_id(&self) -> Option<&EventId> {
        self.last_event_id.as_ref()
    }

    /// Whether a stream is open: its head was good, and the connection was not lost since.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::OpenSince(_))
    }

    /// Whether a response with this `Content-Type` is read as a stream.
    #[must_use]
    pub fn is_stream_type(&self, content_type: Option<&str>) -> bool {
        self.stream_types.include(content_type)
    }

    /// The number of the current or next attempt in this outage, counted from 1; 0 before the first
    /// outage. An attempt succeeds, and ends the outage, when an event, an ID or a comment arrives. Then
    /// it keeps its number.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempts
    }

    /// Why the last connection or attempt failed.
    ///
    /// `None` if it ended as HTTP specifies, and from the next attempt on.
    #[must_use]
    pub fn failure(&self) -> Option<&EventSourceFailure> {
        self.failure.as_ref()
    }

    /// Whether the last connection ended within an event, which was discarded. `false` from the next
    /// attempt on. See [`Decoder::is_within_event`].
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        self.is_unfinished
    }

    fn connect(&mut self) {
        self.phase = Phase::Connecting;
        self.redirects = 0;
        self.failure = None;
        self.is_unfinished = false;
        self.action = Some(EventSourceAction::Connect {
            last_event_id: self.resumable_id(),
        });
    }

    /// The last event ID, if a header can carry it.
    fn resumable_id(&self) -> Option<EventId> {
        self.last_event_id.clone().filter(|id| id.is_resumable())
    }

    /// Handles the end of a connection or an attempt: a failure, or `None` for a clean end.
    fn handle_loss(
        &mut self,
        failure: Option<EventSourceFailure>,
        retry_after: Option<Duration>,
        now: Instant,
    ) {
        // The events received before are still returned, and do not mix with those of the next
        // connection.
        self.settle();
        let was_open = self.is_open();
        if !was_open && self.phase != Phase::Connecting {
            return;
        }
        self.is_unfinished = was_open && self.decoder.is_within_event();
        self.count_attempt(now);
        self.failure = failure;
        self.unauthorized_retries = 0;
        if was_open && !self.repeats_after_open {
            return self.wait_or_end(None, now);
        }
        let reconnection_time = self.decoder.reconnection_time();
        if self.asks && self.reconnect.covers(self.opened_before) {
            self.phase = Phase::Deciding;
            self.action = Some(EventSourceAction::Decide {
                attempt: self.attempts,
                reconnection_time,
                retry_after,
            });
            return;
        }
        let delay = self.policy_delay(retry_after);
        if delay.is_none() && self.reconnect.reconnects() {
            // Without an error, the caller would take the stream for complete.
            self.failure
                .get_or_insert(EventSourceFailure::OutOfAttempts);
        }
        self.wait_or_end(delay, now);
    }

    /// The policy's wait before the next attempt. `None` if it does not allow that attempt.
    fn policy_delay(&mut self, retry_after: Option<Duration>) -> Option<Duration> {
        self.reconnect.delay(NextAttempt {
            number: self.attempts,
            opened_before: self.opened_before,
            server_time: self.decoder.reconnection_time(),
            retry_after,
            jitter: self.jitter.next(),
        })
    }

    /// Counts the next attempt. It is the first of a new outage if the connection succeeded.
    fn count_attempt(&mut self, now: Instant) {
        if let Phase::OpenSince(opened) = self.phase {
            let open_for = now.saturating_duration_since(opened);
            if self.has_succeeded() && self.reconnect.is_stable(open_for) {
                self.attempts = 0;
            }
        }
        self.attempts = self.attempts.saturating_add(1);
        self.decoder.reset();
    }

    fn wait_or_end(&mut self, delay: Option<Duration>, now: Instant) {
        match (delay, self.failure.clone()) {
            (Some(delay), _) => self.phase = Phase::WaitingUntil(after(now, delay)),
            (None, Some(failure)) => self.fail(failure),
            (None, None) => self.finish(EventSourceAction::Finish),
        }
    }

    /// Decodes the received chunk, although the driver has not taken its events yet.
    fn settle(&mut self) {
        if let Err(error) = self.incoming.settle(&mut self.decoder) {
            self.fail(EventSourceFailure::EventTooLarge(error));
        }
    }

    fn fail(&mut self, failure: EventSourceFailure) {
        self.failure = Some(failure.clone());
        self.finish(EventSourceAction::Fail(failure));
    }

    fn finish(&mut self, action: EventSourceAction) {
        self.phase = Phase::Over;
        self.action = Some(action);
    }
}

fn retry_after(head: ResponseHead<'_>, wall: SystemTime) -> Option<Duration> {
    parse_retry_after(head.retry_after?, wall)
}

/// Whether a refusal with this status may be temporary: 408, 425, 429 and 5xx.
#[must_use]
pub fn is_temporary_status(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500..600)
}

// Shows no received text.
impl fmt::Debug for EventSourceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventSourceState")
            .field("phase", &self.phase)
            .field("attempts", &self.attempts)
            .field("failure", &self.failure)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
