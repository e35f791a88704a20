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
    Decoder, Event, EventId, EventSourceAction, EventSourceFailure, EventTooLarge, Reconnect,
    ResponseHead, StreamTypes,
};

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

    /// The next event of the received part of the stream.
    #[inline]
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        if self.reads_plainly {
            return self.poll_any_event();
        }
        self.poll_checked_event()
    }

    /// The next event, if each must be looked at.
    #[inline(never)]
    fn poll_checked_event(&mut self) -> Option<Event> {
        if self.dedupe.is_some() {
            return self.poll_new_event();
        }
        let event = self.poll_any_event();
        self.is_successful |= event.as_ref().is_some_and(is_sign_of_life) || self.has_succeeded();
        self.reads_plainly = self.is_successful;
        event
    }

    /// The next event that was not received before.
    fn poll_new_event(&mut self) -> Option<Event> {
        loop {
            let Some(event) = self.incoming.next(&mut self.decoder) else {
                self.take_over_id();
                return None;
            };
            self.is_successful |= is_success(&event);
            match event {
                Ok(mut event) if event.id.is_none() => {
                    event.id.clone_from(&self.last_event_id);
                    return Some(event);
                }
                Ok(event) => {
                    let dedupe = self.dedupe.as_mut();
                    if !dedupe.is_some_and(|dedupe| dedupe.is_repeat(&event)) {
                        self.last_event_id.clone_from(&event.id);
                        return Some(event);
                    }
                }
                Err(error) => {
                    let id = error.last_event_id();
                    let dedupe = self.dedupe.as_mut();
                    let is_repeat = dedupe
                        .zip(id)
                        .is_some_and(|(dedupe, id)| dedupe.is_repeated_id(id, false));
                    if !is_repeat {
                        self.handle_too_large(error);
                        return None;
                    }
                }
            }
        }
    }

    /// Takes over the ID of a block without data, unless it is before the last event. Called once the
    /// received part is read.
    #[inline(always)]
    fn take_over_id(&mut self) {
        let version = self.decoder.last_event_id_version();
        if version == self.id_version {
            return;
        }
        self.id_version = version;
        // At most as many bytes are compared as arrived, as each ID is compared once.
        if self.last_event_id.as_deref() != self.decoder.last_event_id() {
            self.take_over_new_id();
        }
    }

    #[inline(never)]
    fn take_over_new_id(&mut self) {
        let dedupe = self.dedupe.as_ref();
        if let Some(id) = self.decoder.owned_last_event_id()
            && !dedupe.is_some_and(|dedupe| dedupe.is_before_last(&id))
        {
            self.last_event_id = Some(id);
        }
    }

    #[inline(always)]
    fn poll_any_event(&mut self) -> Option<Event> {
        match self.incoming.next(&mut self.decoder) {
            Some(Ok(event)) => {
                self.last_event_id.clone_from(&event.id);
                Some(event)
            }
            Some(Err(error)) => {
                self.handle_too_large(error);
                None
            }
            None => {
                self.take_over_id();
                None
            }
        }
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

    /// Whether the connection has sent an event, an ID or a comment, even one that was not taken. A head
    /// alone is no success: an overloaded server, or a page of HTML under the right type, sends one too.
    fn has_succeeded(&self) -> bool {
        self.is_successful
            || self.decoder.has_comment()
            || self.decoder.last_event_id_version() != self.id_version_at_open
            || self.incoming.waiting().any(is_success)
    }

    fn wait_or_end(&mut self, delay: Option<Duration>, now: Instant) {
        match (delay, self.failure.clone()) {
            (Some(delay), _) => self.phase = Phase::WaitingUntil(after(now, delay)),
            (None, Some(failure)) => self.fail(failure),
            (None, None) => self.finish(EventSourceAction::Finish),
        }
    }

    #[cold]
    fn handle_too_large(&mut self, error: EventTooLarge) {
        if self.decoder.skips_large_events() {
            self.is_successful = true;
            if let Some(id) = error.last_event_id() {
                self.last_event_id = Some(id.clone());
            }
            self.skipped = Some(error);
        } else {
            self.take_over_id();
            self.incoming = Incoming::default();
            self.fail(EventSourceFailure::EventTooLarge(error));
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

/// Whether this event makes an attempt successful: any, even one over the limit.
fn is_success(event: &Result<Event, EventTooLarge>) -> bool {
    event.as_ref().map_or(true, is_sign_of_life)
}

/// Whether this event makes an attempt successful. A `retry` that is shown as an event does not.
fn is_sign_of_life(event: &Event) -> bool {
    event.data.is_some() || event.comments.is_some()
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
mod tests {
    use super::*;
    use crate::RECONNECTION_CEILING;

    const STREAM: Option<&str> = Some("text/event-stream");

    #[allow(clippy::disallowed_methods, reason = "any instant will do")]
    fn some_instant() -> Instant {
        Instant::now()
    }

    fn connecting(reconnect: Reconnect) -> EventSourceState {
        EventSourceState::new(reconnect, Decoder::new(), 42)
    }

    fn respond(state: &mut EventSourceState, status: u16, content_type: Option<&str>) {
        let head = ResponseHead::new(status)
            .content_type(content_type)
            .retry_after(Some("2"));
        state.handle_response(head, some_instant(), SystemTime::UNIX_EPOCH);
    }

    fn open(reconnect: Reconnect) -> EventSourceState {
        let mut state = connecting(reconnect);
        assert_eq!(
            state.poll_action(),
            Some(EventSourceAction::Connect {
                last_event_id: None
            })
        );
        respond(&mut state, 200, STREAM);
        state
    }

    #[track_caller]
    fn assert_connects(state: &mut EventSourceState) {
        let action = state.poll_action();
        assert!(
            matches!(action, Some(EventSourceAction::Connect { .. })),
            "{action:?}"
        );
    }

    #[track_caller]
    fn assert_fails(state: &mut EventSourceState, failure: EventSourceFailure) {
        assert_eq!(state.poll_action(), Some(EventSourceAction::Fail(failure)));
    }

    /// Lets the current wait pass.
    #[track_caller]
    fn wait(state: &mut EventSourceState) {
        let until = state.poll_timeout().expect("a wait");
        state.handle_timeout(until);
    }

    fn texts(state: &mut EventSourceState) -> Vec<String> {
        std::iter::from_fn(|| state.poll_event())
            .map(|event| event.text().into())
            .collect()
    }

    /// Ends the connection, and returns the ID that the next one resumes after.
    fn resumed_after(state: &mut EventSourceState) -> Option<EventId> {
        state.handle_end(some_instant());
        wait(state);
        match state.poll_action() {
            Some(EventSourceAction::Connect { last_event_id }) => last_event_id,
            other => panic!("expected to connect, not {other:?}"),
        }
    }

    #[test]
    fn a_refusal_ends_the_session() {
        for (status, content_type, failure) in [
            (404, STREAM, EventSourceFailure::Status(404)),
            (206, STREAM, EventSourceFailure::Status(206)),
            (503, None, EventSourceFailure::Status(503)),
            (
                200,
                Some("text/plain"),
                EventSourceFailure::ContentType(Some("text/plain".into())),
            ),
            (200, None, EventSourceFailure::ContentType(None)),
        ] {
            let mut state = connecting(Reconnect::standard());
            respond(&mut state, status, content_type);
            assert_fails(&mut state, failure);
            assert_eq!((state.poll_action(), state.poll_timeout()), (None, None));
        }
    }

    #[test]
    fn the_policy_may_retry_a_temporary_refusal() {
        let mut state = open(Reconnect::fixed(2, Duration::from_secs(1)).retry_refusals(true));
        state.handle_end(some_instant());
        wait(&mut state);
        let asked = some_instant();
        respond(&mut state, 503, None);
        assert!(state.poll_timeout().unwrap() >= asked + Duration::from_secs(2));
        wait(&mut state);
        assert_connects(&mut state);
        respond(&mut state, 503, None);
        assert_fails(&mut state, EventSourceFailure::Status(503));
    }

    #[test]
    fn only_a_temporary_refusal_is_retried() {
        let state = connecting(Reconnect::standard().retry_refusals(true));
        for status in [408, 425, 429, 500, 503, 599] {
            assert!(state.may_retry(status), "{status}");
            assert!(
                !connecting(Reconnect::standard()).may_retry(status),
                "{status}"
            );
        }
        for status in [200, 206, 304, 400, 401, 404, 600] {
            assert!(!state.may_retry(status), "{status}");
        }
    }

    #[test]
    fn the_driver_decides_in_place_of_the_policy() {
        let now = some_instant();
        let mut state = open(Reconnect::standard()).ask(true);
        state.handle_chunk("retry: 1500\n\n".into());
        assert_eq!(state.poll_event(), None);
        state.handle_network_error(now);
        assert_eq!(
            state.poll_action(),
            Some(EventSourceAction::Decide {
                attempt: 1,
                reconnection_time: Some(Duration::from_millis(1500)),
                retry_after: None
            })
        );
        assert_eq!((state.poll_action(), state.poll_timeout()), (None, None));
        state.handle_decision(Some(Duration::from_secs(7)), now);
        assert_eq!(state.poll_timeout(), Some(now + Duration::from_secs(7)));
        state.handle_timeout(now + Duration::from_secs(7));
        assert_eq!(state.attempt(), 1);
        assert_connects(&mut state);
        respond(&mut state, 503, None);
        assert_eq!(
            state.poll_action(),
            Some(EventSourceAction::Decide {
                attempt: 2,
                reconnection_time: Some(Duration::from_millis(1500)),
                retry_after: Some(Duration::from_secs(2))
            })
        );
        state.handle_decision(None, now);
        assert_fails(&mut state, EventSourceFailure::Status(503));
        state.handle_decision(Some(Duration::ZERO), now);
        assert_eq!(state.poll_timeout(), None);
    }

    #[test]
    fn a_decision_may_end_the_session_after_a_clean_end() {
        let mut state = open(Reconnect::off()).ask(true);
        state.handle_end(some_instant());
        assert!(matches!(
            state.poll_action(),
            Some(EventSourceAction::Decide { .. })
        ));
        state.handle_decision(None, some_instant());
        assert_eq!(state.poll_action(), Some(EventSourceAction::Finish));
    }

    #[test]
    fn a_first_connection_and_a_permanent_refusal_need_no_decision() {
        let mut state = connecting(Reconnect::off()).ask(true);
        state.handle_network_error(some_instant());
        assert_fails(&mut state, EventSourceFailure::Connect);

        let mut state = open(Reconnect::off()).ask(true);
        state.handle_end(some_instant());
        state.handle_decision(Some(Duration::ZERO), some_instant());
        wait(&mut state);
        assert_connects(&mut state);
        respond(&mut state, 404, None);
        assert_fails(&mut state, EventSourceFailure::Status(404));
    }

    #[test]
    fn dedupe_drops_events_that_a_reconnection_repeats() {
        let mut state = open(Reconnect::standard()).dedupe(true);
        state.handle_chunk("id: e.1.AAAA\ndata: a\n\nid: e.2.BBBB\ndata: b\n\n".into());
        assert_eq!(texts(&mut state), ["a", "b"]);
        state.handle_end(some_instant());
        wait(&mut state);
        assert!(state.poll_action().is_some());
        respond(&mut state, 200, STREAM);
        state.handle_chunk("id: e.2.BBBB\ndata: b\n\nid: e.3.CCCC\ndata: c\n\n".into());
        assert_eq!(texts(&mut state), ["c"]);
    }

    #[test]
    fn with_dedupe_the_id_only_moves_forward_and_events_without_one_pass() {
        let mut state = open(Reconnect::standard()).dedupe(true);
        state.handle_chunk("id: e.1.AAAA\ndata: a\n\nid: e.5.BBBB\ndata: b\n\n".into());
        assert_eq!(texts(&mut state), ["a", "b"]);
        let b = Some(EventId::from_static("e.5.BBBB"));
        assert_eq!(resumed_after(&mut state), b);
        respond(&mut state, 200, STREAM);
        state.handle_chunk("id: e.3.CCCC\ndata: again\n\nid: e.4.DDDD\n\n".into());
        assert_eq!(texts(&mut state), [""; 0]);
        assert_eq!(resumed_after(&mut state), b);
        respond(&mut state, 200, STREAM);
        state.handle_chunk("event: closed\ndata: revoked\n\n".into());
        let closed = state.poll_event().unwrap();
        assert_eq!((closed.text(), &closed.id), ("revoked", &b));
        assert_eq!(resumed_after(&mut state), b);
        respond(&mut state, 200, STREAM);
        state.handle_chunk("id: e.6.EEEE\n\n".into());
        assert_eq!(texts(&mut state), [""; 0]);
        assert_eq!(resumed_after(&mut state).unwrap(), "e.6.EEEE");
    }

    #[test]
    fn a_connection_that_was_not_stable_does_not_end_the_outage() {
        let mut state =
            open(Reconnect::fixed(1, Duration::ZERO).stable_after(Duration::from_secs(9)));
        let opened = some_instant();
        state.handle_end(opened + Duration::from_secs(10));
        wait(&mut state);
        assert_connects(&mut state);
        respond(&mut state, 200, STREAM);
        state.handle_network_error(some_instant());
        assert_fails(&mut state, EventSourceFailure::Interrupted);
    }

    #[test]
    fn twenty_redirects_are_followed_and_no_more() {
        let mut state = connecting(Reconnect::off());
        let redirect = |state: &mut EventSourceState| {
            assert!(state.poll_action().is_some());
            let head = ResponseHead::new(302).location(Some("/next"));
            state.handle_response(head, some_instant(), SystemTime::UNIX_EPOCH);
        };
        (0..=MAX_REDIRECTS).for_each(|_| redirect(&mut state));
        assert_fails(&mut state, EventSourceFailure::TooManyRedirects);

        let mut state = connecting(Reconnect::off());
        (0..MAX_REDIRECTS).for_each(|_| redirect(&mut state));
        assert!(matches!(
            state.poll_action(),
            Some(EventSourceAction::Redirect { status: 302, .. })
        ));
        respond(&mut state, 200, STREAM);
        assert!(state.is_open());
    }

    #[test]
    fn a_redirect_without_a_target_is_a_refusal() {
        for location in [None, Some("")] {
            let mut state = connecting(Reconnect::standard());
            assert!(state.poll_action().is_some());
            let head = ResponseHead::new(301).location(location);
            state.handle_response(head, some_instant(), SystemTime::UNIX_EPOCH);
            assert_fails(&mut state, EventSourceFailure::Status(301));
        }
    }

    #[test]
    fn no_content_ends_the_session_without_an_error() {
        let mut state = connecting(Reconnect::standard());
        respond(&mut state, 204, None);
        assert_eq!(state.poll_action(), Some(EventSourceAction::Finish));
    }

    #[test]
    fn without_a_policy_a_clean_end_finishes_and_a_cut_fails() {
        let mut state = open(Reconnect::off());
        state.handle_end(some_instant());
        assert_eq!(state.poll_action(), Some(EventSourceAction::Finish));

        let mut state = open(Reconnect::off());
        state.handle_network_error(some_instant());
        assert_fails(&mut state, EventSourceFailure::Interrupted);
    }

    #[test]
    fn attempts_count_per_outage() {
        let mut state = open(Reconnect::fixed(2, Duration::from_secs(1)));
        for _ in 0..3 {
            state.handle_chunk(":\n".into());
            state.handle_end(some_instant());
            wait(&mut state);
            state.handle_network_error(some_instant());
            wait(&mut state);
            respond(&mut state, 200, STREAM);
        }
        state.handle_chunk(":\n".into());
        for _ in 0..2 {
            state.handle_network_error(some_instant());
            wait(&mut state);
            assert_connects(&mut state);
        }
        state.handle_network_error(some_instant());
        assert_fails(&mut state, EventSourceFailure::Connect);
    }

    #[test]
    fn an_unfinished_block_is_dropped_but_its_retry_counts() {
        let mut state = open(Reconnect::standard());
        state.handle_chunk("id: 1\ndata: a\n\nretry: 500\nid: 2\ndata: b\n".into());
        assert_eq!(texts(&mut state), ["a"]);
        let now = some_instant();
        state.handle_end(now);
        assert_eq!(state.poll_timeout(), Some(now + Duration::from_millis(500)));
        wait(&mut state);
        assert_eq!(
            state.poll_action(),
            Some(EventSourceAction::Connect {
                last_event_id: Some(1.into())
            })
        );
        respond(&mut state, 200, STREAM);
        state.handle_chunk("data: c\n\n".into());
        let event = state.poll_event().unwrap();
        assert_eq!(event, Event::new("c").id(1));
    }

    #[test]
    fn the_last_event_id_is_that_of_the_last_event_taken() {
        let mut state = open(Reconnect::standard());
        state.handle_chunk("id: 1\ndata: a\n\nid: 2\ndata: b\n\nid: 3\n\n".into());
        for id in ["1", "2"] {
            state.poll_event().unwrap();
            assert_eq!(state.last_event_id().unwrap(), id);
        }
        assert_eq!(state.poll_event(), None);
        assert_eq!(resumed_after(&mut state), Some(3.into()));
    }

    #[test]
    fn an_id_that_no_header_can_carry_is_delivered_and_not_sent() {
        for id in ["", " ", "a\u{1b}b"] {
            let mut state = open(Reconnect::standard());
            state.handle_chunk(format!("id: {id}\ndata: a\n\n").into());
            assert_eq!(state.poll_event().unwrap().id.unwrap(), id);
            assert_eq!(resumed_after(&mut state), None);
        }
    }

    #[test]
    fn events_before_one_that_is_too_large_are_delivered() {
        let decoder = Decoder::new().max_event_bytes(20);
        let mut state = EventSourceState::new(Reconnect::standard(), decoder, 42);
        respond(&mut state, 200, STREAM);
        let _connect = state.poll_action();
        state.handle_chunk(format!("data: a\n\ndata: {}\n\ndata: c\n\n", "b".repeat(99)).into());
        assert_eq!(texts(&mut state), ["a"]);
        let failure = state.poll_action();
        assert!(
            matches!(
                failure,
                Some(EventSourceAction::Fail(EventSourceFailure::EventTooLarge(
                    _
                )))
            ),
            "{failure:?}"
        );
    }

    #[test]
    fn an_endless_retry_is_limited_to_the_ceiling() {
        let mut state = open(Reconnect::standard());
        state.handle_chunk("retry: 99999999999999999999999\n".into());
        assert_eq!(state.poll_event(), None);
        let now = some_instant();
        state.handle_end(now);
        assert_eq!(state.poll_timeout(), Some(now + RECONNECTION_CEILING));
    }

    #[test]
    fn nothing_follows_a_close() {
        let mut state = open(Reconnect::standard());
        state.handle_chunk("data: a\n\ndata: b\n\n".into());
        assert_eq!(state.poll_event().unwrap().text(), "a");
        state.handle_close();
        assert_eq!(
            (state.poll_event(), state.poll_action()),
            (None, Some(EventSourceAction::Finish))
        );
        state.handle_chunk("data: c\n\n".into());
        state.handle_end(some_instant());
        state.handle_network_error(some_instant());
        respond(&mut state, 200, STREAM);
        assert_eq!((state.poll_event(), state.poll_action()), (None, None));
        assert_eq!(state.poll_timeout(), None);
    }

    #[test]
    fn a_request_that_cannot_be_made_is_a_failed_attempt() {
        let mut state = connecting(Reconnect::off());
        state.handle_request_error(some_instant());
        assert_fails(&mut state, EventSourceFailure::Request);

        let mut state =
            connecting(Reconnect::fixed(1, Duration::ZERO).retry_first_connection(true));
        assert_connects(&mut state);
        state.handle_request_error(some_instant());
        assert_eq!(state.failure(), Some(&EventSourceFailure::Request));
        wait(&mut state);
        assert_connects(&mut state);
        assert_eq!((state.attempt(), state.failure()), (1, None));
        state.handle_request_error(some_instant());
        assert_fails(&mut state, EventSourceFailure::Request);

        let mut state = open(Reconnect::off());
        state.handle_request_error(some_instant());
        assert!(state.is_open());
    }

    #[test]
    fn a_401_is_retried_as_often_as_allowed() {
        let mut state = connecting(Reconnect::off()).retry_unauthorized(2);
        for attempt in [1, 2] {
            assert_connects(&mut state);
            respond(&mut state, 401, None);
            assert_eq!(state.failure(), Some(&EventSourceFailure::Status(401)));
            assert_eq!(state.attempt(), attempt);
            wait(&mut state);
        }
        assert_connects(&mut state);
        respond(&mut state, 401, None);
        assert_fails(&mut state, EventSourceFailure::Status(401));
    }

    #[test]
    fn only_the_first_retry_after_a_401_does_not_wait() {
        let second = Duration::from_secs(1);
        let policy = Reconnect::standard().reconnection_time(second);
        for (reconnect, retry_after, expected) in [
            (Reconnect::off(), None, [0, 3, 3]),
            (Reconnect::off().reconnection_time(second), None, [0, 1, 1]),
            (Reconnect::fixed(1, second), None, [0, 1, 1]),
            (policy.clone().multiplier(1), None, [0, 1, 1]),
            (policy, Some("5"), [0, 5, 5]),
        ] {
            let now = some_instant();
            let mut state = connecting(reconnect.clone()).retry_unauthorized(3);
            let waits = expected.map(|_| {
                assert_connects(&mut state);
                let head = ResponseHead::new(401).retry_after(retry_after);
                state.handle_response(head, now, SystemTime::UNIX_EPOCH);
                let until = state.poll_timeout().unwrap();
                wait(&mut state);
                (until - now).as_secs()
            });
            assert_eq!(waits, expected, "{reconnect:?}");
        }
    }

    #[test]
    fn unauthorized_retries_count_anew_after_an_open_stream_or_another_failure() {
        let policy = Reconnect::fixed(9, Duration::ZERO).retry_first_connection(true);
        let mut state = connecting(policy).retry_unauthorized(1);
        for between in ["open", "connect error", "open"] {
            respond(&mut state, 401, None);
            wait(&mut state);
            assert_connects(&mut state);
            if between == "open" {
                respond(&mut state, 200, STREAM);
            }
            state.handle_network_error(some_instant());
            wait(&mut state);
            assert_connects(&mut state);
        }
        respond(&mut state, 401, None);
        wait(&mut state);
        assert_connects(&mut state);
        // A redirect is no other answer: the target refuses the same token.
        let head = ResponseHead::new(307).location(Some("/next"));
        state.handle_response(head, some_instant(), SystemTime::UNIX_EPOCH);
        assert!(state.poll_action().is_some());
        respond(&mut state, 401, None);
        assert_fails(&mut state, EventSourceFailure::Status(401));
    }

    #[test]
    fn a_request_with_effects_is_repeated_only_until_a_stream_opens() {
        let connecting = || {
            let mut state = connecting(Reconnect::persistent()).repeat_after_open(false);
            assert_connects(&mut state);
            state.handle_network_error(some_instant());
            wait(&mut state);
            assert_connects(&mut state);
            respond(&mut state, 503, None);
            wait(&mut state);
            assert_connects(&mut state);
            respond(&mut state, 200, STREAM);
            state.handle_chunk("data: a\n\n".into());
            state
        };
        let mut state = connecting();
        state.handle_network_error(some_instant());
        assert_eq!(texts(&mut state), ["a"]);
        assert_fails(&mut state, EventSourceFailure::Interrupted);

        let mut state = connecting();
        state.handle_end(some_instant());
        assert_eq!(state.poll_action(), Some(EventSourceAction::Finish));

        let mut state = connecting().ask(true);
        state.handle_end(some_instant());
        assert_eq!(state.poll_action(), Some(EventSourceAction::Finish));
    }

    #[test]
    fn a_reconnection_on_request_waits_for_nothing_and_resumes_after_what_was_received() {
        let now = some_instant();
        let mut state = open(Reconnect::off());
        state.handle_chunk("id: 1\ndata: a\n\nid: 2\ndata: b\n\nid: 3\ndata: c\n".into());
        assert_eq!(state.poll_event().unwrap().text(), "a");
        state.handle_reconnect(now);
        assert_eq!((state.poll_timeout(), state.attempt()), (Some(now), 1));
        assert_eq!(texts(&mut state), ["b"]);
        state.handle_timeout(now);
        let resumed = Some(EventSourceAction::Connect {
            last_event_id: Some(2.into()),
        });
        assert_eq!(state.poll_action(), resumed);
        respond(&mut state, 200, STREAM);
        state.handle_chunk("id: 3\ndata: c\n\n".into());
        assert_eq!(texts(&mut state), ["c"]);
    }

    #[test]
    fn a_reconnection_on_request_replaces_a_wait_a_decision_and_an_attempt() {
        let now = some_instant();
        let mut waiting = open(Reconnect::standard());
        waiting.handle_end(now);
        let mut deciding = open(Reconnect::standard()).ask(true);
        deciding.handle_network_error(now);
        let connecting = connecting(Reconnect::off());
        for mut state in [waiting, deciding, connecting] {
            state.handle_reconnect(now);
            assert_eq!((state.poll_action(), state.failure()), (None, None));
            assert_eq!((state.poll_timeout(), state.attempt()), (Some(now), 1));
        }
        let mut over = open(Reconnect::off());
        over.handle_close();
        over.handle_reconnect(now);
        assert_eq!(over.poll_action(), Some(EventSourceAction::Finish));
        assert_eq!(over.poll_timeout(), None);
    }
}
