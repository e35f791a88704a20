//! The tests of `EventSourceState`.

use super::*;
use crate::{Event, RECONNECTION_CEILING};

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
fn dedupe_drops_repeats_whose_ids_name_their_channels() {
    let mut state = open(Reconnect::standard()).dedupe(true);
    state.handle_chunk("id: e.1.AAAA.a\ndata: a\n\nid: e.2.BBBB.b/c\ndata: b\n\n".into());
    assert_eq!(texts(&mut state), ["a", "b"]);
    let last = resumed_after(&mut state).unwrap();
    assert_eq!(last, "e.2.BBBB.b/c");
    respond(&mut state, 200, STREAM);
    state.handle_chunk("id: e.2.BBBB.b/c\ndata: b\n\nid: e.3.CCCC.a\ndata: c\n\n".into());
    assert_eq!(texts(&mut state), ["c"]);
    // The server was updated, and its events no longer name their channels.
    assert_eq!(resumed_after(&mut state).unwrap(), "e.3.CCCC.a");
    respond(&mut state, 200, STREAM);
    state.handle_chunk("id: e.3.CCCC\ndata: c\n\nid: e.4.DDDD\ndata: d\n\n".into());
    assert_eq!(texts(&mut state), ["d"]);
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
    let mut state = open(Reconnect::fixed(1, Duration::ZERO).stable_after(Duration::from_secs(9)));
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

    let mut state = connecting(Reconnect::fixed(1, Duration::ZERO).retry_first_connection(true));
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
