//! Owns `EventSourceState`: what a client does next, without doing it.

use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

use crate::dedupe::Dedupe;
use crate::headers::is_event_stream;
use crate::incoming::Incoming;
use crate::instant::after;
use crate::jitter::Jitter;
use crate::reconnect::{Outage, parse_retry_after};
use crate::{Decoder, Event, EventId, EventTooLarge, Reconnect, ResponseHead};

/// The most redirects that are followed in a row: 20, as browsers do. The next one is a network
/// error.
///
/// Spec: [HTTP-redirect fetch](https://fetch.spec.whatwg.org/#http-redirect-fetch).
pub const MAX_REDIRECTS: u32 = 20;

/// One subscription over all of its connections: parses, remembers where it is, and decides when
/// to connect, to wait and to stop.
///
/// Whoever drives it takes [`poll_event`](Self::poll_event) until `None`, does what
/// [`poll_action`](Self::poll_action) says, and else waits for the network or
/// [`poll_timeout`](Self::poll_timeout), telling what came by a `handle_*`.
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
#[derive(Debug)]
pub struct EventSourceState {
    reconnect: Reconnect,
    jitter: Jitter,
    decoder: Decoder,
    phase: Phase,
    /// What to do now, until it is taken.
    action: Option<EventSourceAction>,
    /// Received, not handed out.
    incoming: Incoming,
    /// As of the last event handed out.
    last_event_id: Option<EventId>,
    /// Attempts in this outage.
    attempts: u32,
    /// Redirects followed in this attempt.
    redirects: u32,
    opened_before: bool,
    /// Whether each attempt is decided on by who drives this.
    asks: bool,
    dedupe: Option<Dedupe>,
    /// Why the last connection failed; `None` if it came to its end, or another is tried since.
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

/// What the state machine wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventSourceAction {
    /// Send the request, with this `Last-Event-ID` or none, over a new connection.
    Connect {
        /// The id to resume after; only ever one that a header can carry.
        last_event_id: Option<EventId>,
    },
    /// Send the request to where this leads, with the same `Last-Event-ID`; and all further ones
    /// too, once a stream is open there.
    Redirect {
        /// The redirect's status.
        status: u16,
        /// What the `Location` says.
        location: String,
        /// The id to resume after.
        last_event_id: Option<EventId>,
    },
    /// Decide whether and when to connect again, and tell it by
    /// [`handle_decision`](EventSourceState::handle_decision). Only asked by
    /// [`ask`](EventSourceState::ask).
    Decide {
        /// Which attempt in this outage it would be, counted from 1.
        attempt: u32,
        /// The server's `retry`, if it ever sent one.
        reconnection_time: Option<Duration>,
        /// The wait that the server's last answer asks for.
        retry_after: Option<Duration>,
    },
    /// It is over, as it should be: the server said so, or nobody wants more.
    Finish,
    /// It is over: never again a request.
    Fail(EventSourceFailure),
}

/// Why a subscription failed for good.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventSourceFailure {
    /// The server answered another status than 200 and 204.
    Status(u16),
    /// The server answered 200 with another media type, or with none.
    ContentType(Option<String>),
    /// The connection failed or broke, and the policy allows no further attempt.
    Network,
    /// A block was over the limit.
    EventTooLarge(EventTooLarge),
}

impl EventSourceState {
    /// A subscription that begins with a connection. A last event ID that is set on the decoder is
    /// sent with the first request. Jitter comes from the seed.
    #[must_use]
    pub fn new(reconnect: Reconnect, mut decoder: Decoder, seed: u64) -> Self {
        let last_event_id = decoder.owned_last_event_id();
        let mut state = Self {
            reconnect,
            jitter: Jitter::new(seed),
            decoder,
            phase: Phase::Over,
            action: None,
            incoming: Incoming::default(),
            last_event_id,
            attempts: 0,
            redirects: 0,
            opened_before: false,
            asks: false,
            dedupe: None,
            failure: None,
        };
        state.connect();
        state
    }

    /// Asks by [`EventSourceAction::Decide`] whether and when to connect again, in place of what the policy
    /// says; but for the first connection, which must succeed unless the policy covers it. A
    /// refusal is asked about if it may be temporary: the statuses 408, 425, 429 and 5xx.
    #[must_use]
    pub fn ask(mut self) -> Self {
        self.asks = true;
        self
    }

    /// Drops events that were heard before: those whose id is a [`Position`](crate::Position) not
    /// after that of the last event, in the same epoch. What stands at the last event ID of the
    /// decoder was heard. A [`Gap`](crate::Gap) begins the order anew.
    #[must_use]
    pub fn dedupe(mut self) -> Self {
        self.dedupe = Some(Dedupe::after(self.decoder.last_event_id()));
        self
    }

    /// What is to be done now, once.
    #[must_use]
    pub fn poll_action(&mut self) -> Option<EventSourceAction> {
        self.action.take()
    }

    /// The next event of what was received.
    #[inline]
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        if self.dedupe.is_none() {
            return self.poll_any_event();
        }
        self.poll_new_event()
    }

    /// The next event that was not heard before.
    #[inline(never)]
    fn poll_new_event(&mut self) -> Option<Event> {
        loop {
            let Some(event) = self.incoming.next(&mut self.decoder) else {
                self.move_to(
                    self.decoder
                        .last_event_id()
                        .and_then(|id| EventId::new(id).ok()),
                );
                return None;
            };
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
                    self.handle_too_large(error);
                    return None;
                }
            }
        }
    }

    /// A block without data has moved the id, unless it leads back to what was heard.
    fn move_to(&mut self, id: Option<EventId>) {
        let dedupe = self.dedupe.as_ref();
        if let Some(id) = id
            && !dedupe.is_some_and(|dedupe| dedupe.is_behind(&id))
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
                // A block without data may have moved it since.
                if self.last_event_id.as_deref() != self.decoder.last_event_id() {
                    self.last_event_id = self.decoder.owned_last_event_id();
                }
                None
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::WaitingUntil(until) => Some(until),
            _ => None,
        }
    }

    /// The head of the response has come; ignored unless one is awaited. The wall time is for a `Retry-After` that is a date.
    pub fn handle_response(&mut self, head: ResponseHead<'_>, now: Instant, wall: SystemTime) {
        if self.phase != Phase::Connecting {
            return;
        }
        match (head.status, head.location) {
            (200, _) if head.content_type.is_some_and(is_event_stream) => {
                self.phase = Phase::OpenSince(now);
                self.opened_before = true;
                if let Some(dedupe) = &mut self.dedupe {
                    dedupe.handle_open();
                    // So that an event without an id of its own is known.
                    self.decoder.clear_last_event_id();
                }
            }
            (200, _) => self.fail(EventSourceFailure::ContentType(
                head.content_type.map(str::to_owned),
            )),
            (204, _) => self.finish(EventSourceAction::Finish),
            (status @ (301 | 302 | 303 | 307 | 308), Some(location)) if !location.is_empty() => {
                self.handle_redirect(status, location, now);
            }
            (status, _) if self.may_retry(status) => {
                let retry_after = head
                    .retry_after
                    .and_then(|value| parse_retry_after(value, wall));
                self.handle_loss(Some(EventSourceFailure::Status(status)), retry_after, now);
            }
            (status, _) => self.fail(EventSourceFailure::Status(status)),
        }
    }

    fn may_retry(&self, status: u16) -> bool {
        (self.asks || self.reconnect.retries_refusals()) && is_temporary(status)
    }

    fn handle_redirect(&mut self, status: u16, location: &str, now: Instant) {
        if self.redirects == MAX_REDIRECTS {
            return self.handle_network_error(now);
        }
        self.redirects += 1;
        self.action = Some(EventSourceAction::Redirect {
            status,
            location: location.to_owned(),
            last_event_id: self.resumable_id(),
        });
    }

    /// A part of the body has come; ignored unless the connection is open. Whoever has not taken
    /// all events of the part before makes them wait in memory.
    pub fn handle_chunk(&mut self, chunk: Bytes) {
        self.settle();
        if self.is_open() {
            self.incoming.push(chunk);
        }
    }

    /// The body has ended as HTTP says it should.
    pub fn handle_end(&mut self, now: Instant) {
        self.handle_loss(None, None, now);
    }

    /// The connection could not be made, or broke.
    pub fn handle_network_error(&mut self, now: Instant) {
        self.handle_loss(Some(EventSourceFailure::Network), None, now);
    }

    /// What [`EventSourceAction::Decide`] asked for: how long to wait before the attempt, or `None` if it is
    /// not to be made.
    pub fn handle_decision(&mut self, delay: Option<Duration>, now: Instant) {
        if self.phase == Phase::Deciding {
            self.wait_or_end(delay, now);
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_some_and(|until| until <= now) {
            self.connect();
        }
    }

    /// Nobody wants more. What was received and not taken is dropped.
    pub fn handle_close(&mut self) {
        self.incoming = Incoming::default();
        if self.phase != Phase::Over {
            self.finish(EventSourceAction::Finish);
        }
    }

    /// The last event ID, as of the last event handed out. An id-only block counts once the events
    /// before it have been taken.
    #[must_use]
    pub fn last_event_id(&self) -> Option<&EventId> {
        self.last_event_id.as_ref()
    }

    /// Whether the connection is open: its head was good, and it has not been lost since.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::OpenSince(_))
    }

    /// Which attempt of the last outage is made or waited for, counted from 1; 0 before any.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempts
    }

    /// Why the last connection failed; `None` if it came to its end, or another is tried since.
    #[must_use]
    pub fn failure(&self) -> Option<&EventSourceFailure> {
        self.failure.as_ref()
    }

    fn connect(&mut self) {
        self.phase = Phase::Connecting;
        self.redirects = 0;
        self.failure = None;
        self.action = Some(EventSourceAction::Connect {
            last_event_id: self.resumable_id(),
        });
    }

    /// The last event ID, if a header can carry it.
    fn resumable_id(&self) -> Option<EventId> {
        self.last_event_id.clone().filter(|id| id.is_resumable())
    }

    /// The connection is gone, for this reason or because it came to its end.
    fn handle_loss(
        &mut self,
        why: Option<EventSourceFailure>,
        retry_after: Option<Duration>,
        now: Instant,
    ) {
        // What was received before goes on to be heard, and does not mix with what comes after.
        self.settle();
        let is_live = matches!(self.phase, Phase::Connecting | Phase::OpenSince(_));
        if !is_live {
            return;
        }
        if let Phase::OpenSince(opened) = self.phase
            && self
                .reconnect
                .is_stable(now.saturating_duration_since(opened))
        {
            self.attempts = 0;
        }
        self.attempts = self.attempts.saturating_add(1);
        self.failure = why;
        self.decoder.reset();
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
        let delay = self.reconnect.delay(Outage {
            attempt: self.attempts,
            opened_before: self.opened_before,
            server_time: reconnection_time,
            retry_after,
            jitter: self.jitter.next(),
        });
        self.wait_or_end(delay, now);
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
        self.incoming = Incoming::default();
        self.fail(EventSourceFailure::EventTooLarge(error));
    }

    /// What has come is decoded, though nobody has taken it yet.
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

/// Whether a refusal with this status may be over soon: 408, 425, 429 and 5xx.
#[must_use]
pub fn is_temporary(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500..600)
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

    fn texts(state: &mut EventSourceState) -> Vec<String> {
        std::iter::from_fn(|| state.poll_event())
            .map(|event| event.text().into())
            .collect()
    }

    /// Loses the connection by its end and says what is resumed after.
    fn resumed_after(state: &mut EventSourceState) -> Option<EventId> {
        state.handle_end(some_instant());
        state.handle_timeout(state.poll_timeout().unwrap());
        match state.poll_action() {
            Some(EventSourceAction::Connect { last_event_id }) => last_event_id,
            other => panic!("expected to connect, not {other:?}"),
        }
    }

    #[test]
    fn a_refusal_is_for_good() {
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
            assert_eq!(state.poll_action(), Some(EventSourceAction::Fail(failure)));
            assert_eq!((state.poll_action(), state.poll_timeout()), (None, None));
        }
    }

    #[test]
    fn a_refusal_that_may_be_temporary_is_repeated_when_asked_for() {
        let mut state = open(Reconnect::fixed(2, Duration::from_secs(1)).retry_refusals(true));
        state.handle_end(some_instant());
        state.handle_timeout(state.poll_timeout().unwrap());
        let asked = some_instant();
        respond(&mut state, 503, None);
        assert!(state.poll_timeout().unwrap() >= asked + Duration::from_secs(2));
        state.handle_timeout(state.poll_timeout().unwrap());
        assert!(matches!(
            state.poll_action(),
            Some(EventSourceAction::Connect { .. })
        ));
        respond(&mut state, 503, None);
        assert_eq!(
            state.poll_action(),
            Some(EventSourceAction::Fail(EventSourceFailure::Status(503)))
        );
    }

    #[test]
    fn only_refusals_that_may_be_temporary_are_repeated() {
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
    fn who_is_asked_decides_and_not_the_policy() {
        let now = some_instant();
        let mut state = open(Reconnect::standard()).ask();
        state.handle_chunk(
            "retry: 1500

"
            .into(),
        );
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
        assert!(matches!(
            state.poll_action(),
            Some(EventSourceAction::Connect { .. })
        ));
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
        assert_eq!(
            state.poll_action(),
            Some(EventSourceAction::Fail(EventSourceFailure::Status(503)))
        );
        state.handle_decision(Some(Duration::ZERO), now);
        assert_eq!(state.poll_timeout(), None);
    }

    #[test]
    fn who_is_asked_after_an_end_may_let_it_be_the_end() {
        let mut state = open(Reconnect::off()).ask();
        state.handle_end(some_instant());
        assert!(matches!(
            state.poll_action(),
            Some(EventSourceAction::Decide { .. })
        ));
        state.handle_decision(None, some_instant());
        assert_eq!(state.poll_action(), Some(EventSourceAction::Finish));
    }

    #[test]
    fn nobody_is_asked_about_a_first_connection_that_must_succeed_or_about_a_refusal_for_good() {
        let mut state = connecting(Reconnect::off()).ask();
        state.handle_network_error(some_instant());
        assert_eq!(
            state.poll_action(),
            Some(EventSourceAction::Fail(EventSourceFailure::Network))
        );

        let mut state = open(Reconnect::off()).ask();
        state.handle_end(some_instant());
        state.handle_decision(Some(Duration::ZERO), some_instant());
        state.handle_timeout(state.poll_timeout().unwrap());
        assert!(matches!(
            state.poll_action(),
            Some(EventSourceAction::Connect { .. })
        ));
        respond(&mut state, 404, None);
        assert_eq!(
            state.poll_action(),
            Some(EventSourceAction::Fail(EventSourceFailure::Status(404)))
        );
    }

    #[test]
    fn a_reconnection_repeats_nothing_when_asked_for() {
        let mut state = open(Reconnect::standard()).dedupe();
        state.handle_chunk("id: e.1.AAAA\ndata: a\n\nid: e.2.BBBB\ndata: b\n\n".into());
        assert_eq!(texts(&mut state), ["a", "b"]);
        state.handle_end(some_instant());
        state.handle_timeout(state.poll_timeout().unwrap());
        assert!(state.poll_action().is_some());
        respond(&mut state, 200, STREAM);
        state.handle_chunk("id: e.2.BBBB\ndata: b\n\nid: e.3.CCCC\ndata: c\n\n".into());
        assert_eq!(texts(&mut state), ["c"]);
    }

    #[test]
    fn with_dedupe_the_id_goes_forward_and_what_has_none_is_heard() {
        let mut state = open(Reconnect::standard()).dedupe();
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
        state.handle_timeout(state.poll_timeout().unwrap());
        assert!(matches!(
            state.poll_action(),
            Some(EventSourceAction::Connect { .. })
        ));
        respond(&mut state, 200, STREAM);
        state.handle_network_error(some_instant());
        assert_eq!(
            state.poll_action(),
            Some(EventSourceAction::Fail(EventSourceFailure::Network))
        );
    }

    #[test]
    fn twenty_redirects_are_followed_and_the_next_is_a_network_error() {
        let mut state = connecting(Reconnect::off());
        let redirect = |state: &mut EventSourceState| {
            assert!(state.poll_action().is_some());
            let head = ResponseHead::new(302).location(Some("/next"));
            state.handle_response(head, some_instant(), SystemTime::UNIX_EPOCH);
        };
        (0..=MAX_REDIRECTS).for_each(|_| redirect(&mut state));
        assert_eq!(
            state.poll_action(),
            Some(EventSourceAction::Fail(EventSourceFailure::Network))
        );

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
    fn a_redirect_to_nowhere_is_a_refusal() {
        for location in [None, Some("")] {
            let mut state = connecting(Reconnect::standard());
            assert!(state.poll_action().is_some());
            let head = ResponseHead::new(301).location(location);
            state.handle_response(head, some_instant(), SystemTime::UNIX_EPOCH);
            assert_eq!(
                state.poll_action(),
                Some(EventSourceAction::Fail(EventSourceFailure::Status(301)))
            );
        }
    }

    #[test]
    fn no_content_stops_without_an_error() {
        let mut state = connecting(Reconnect::standard());
        respond(&mut state, 204, None);
        assert_eq!(state.poll_action(), Some(EventSourceAction::Finish));
    }

    #[test]
    fn without_a_policy_an_end_is_the_end_and_a_break_an_error() {
        let mut state = open(Reconnect::off());
        state.handle_end(some_instant());
        assert_eq!(state.poll_action(), Some(EventSourceAction::Finish));

        let mut state = open(Reconnect::off());
        state.handle_network_error(some_instant());
        assert_eq!(
            state.poll_action(),
            Some(EventSourceAction::Fail(EventSourceFailure::Network))
        );
    }

    #[test]
    fn attempts_count_per_outage() {
        let mut state = open(Reconnect::fixed(2, Duration::from_secs(1)));
        for _ in 0..3 {
            state.handle_end(some_instant());
            state.handle_timeout(state.poll_timeout().unwrap());
            state.handle_network_error(some_instant());
            state.handle_timeout(state.poll_timeout().unwrap());
            respond(&mut state, 200, STREAM);
        }
        for _ in 0..2 {
            state.handle_network_error(some_instant());
            state.handle_timeout(state.poll_timeout().unwrap());
            assert!(matches!(
                state.poll_action(),
                Some(EventSourceAction::Connect { .. })
            ));
        }
        state.handle_network_error(some_instant());
        assert_eq!(
            state.poll_action(),
            Some(EventSourceAction::Fail(EventSourceFailure::Network))
        );
    }

    #[test]
    fn an_unfinished_block_is_dropped_but_its_retry_counts() {
        let mut state = open(Reconnect::standard());
        state.handle_chunk("id: 1\ndata: a\n\nretry: 500\nid: 2\ndata: b\n".into());
        assert_eq!(texts(&mut state), ["a"]);
        let now = some_instant();
        state.handle_end(now);
        assert_eq!(state.poll_timeout(), Some(now + Duration::from_millis(500)));
        state.handle_timeout(state.poll_timeout().unwrap());
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
    fn the_id_moves_as_events_are_handed_out() {
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
        for id in ["", " x", "a\tb"] {
            let mut state = open(Reconnect::standard());
            state.handle_chunk(format!("id: {id}\ndata: a\n\n").into());
            assert_eq!(state.poll_event().unwrap().id.unwrap(), id);
            assert_eq!(resumed_after(&mut state), None);
        }
    }

    #[test]
    fn events_before_one_that_is_too_large_are_handed_out() {
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
    fn a_retry_that_no_clock_reaches_is_waited_for_up_to_the_ceiling() {
        let mut state = open(Reconnect::standard());
        state.handle_chunk("retry: 99999999999999999999999\n".into());
        assert_eq!(state.poll_event(), None);
        let now = some_instant();
        state.handle_end(now);
        assert_eq!(state.poll_timeout(), Some(now + RECONNECTION_CEILING));
    }

    #[test]
    fn nothing_comes_after_close() {
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
}
