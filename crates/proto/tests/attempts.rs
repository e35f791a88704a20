//! The attempts of an `EventSourceState`: which succeed, and how a session ends after the last.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::time::{Duration, Instant, SystemTime};

use tidings_proto::{
    Comments, Decoder, EventSourceAction, EventSourceFailure, EventSourceState,
    MAX_RECONNECTION_DELAY, Reconnect, ResponseHead,
};

const SECOND: Duration = Duration::from_secs(1);

/// A response that asks the client to come back later.
const COME_BACK: &str = "retry: 1500\n\n";

#[allow(clippy::disallowed_methods, reason = "any instant will do")]
fn now() -> Instant {
    Instant::now()
}

/// Answers the request that the session is about to send.
#[track_caller]
fn answer(state: &mut EventSourceState) {
    let action = state.poll_action();
    assert!(
        matches!(action, Some(EventSourceAction::Connect { .. })),
        "{action:?}"
    );
    let head = ResponseHead::new(200).content_type(Some("text/event-stream"));
    state.handle_response(head, now(), SystemTime::UNIX_EPOCH);
}

fn read(state: &mut EventSourceState, chunks: &[&[u8]], takes: bool) {
    for chunk in chunks {
        state.handle_chunk(chunk.to_vec().into());
        while takes && state.poll_event().is_some() {}
    }
}

/// The wait until the next attempt, which then begins.
#[track_caller]
fn wait(state: &mut EventSourceState, from: Instant) -> Duration {
    let until = state.poll_timeout().expect("a wait");
    state.handle_timeout(until);
    until - from
}

/// Whether the second connection of a session succeeds if it sends this, in any chunks and under any
/// settings.
fn check(body: &str, succeeds: bool) {
    let body = body.as_bytes();
    let modes = [
        Comments::Skipped,
        Comments::Attached,
        Comments::Shown,
        Comments::Immediate,
    ];
    for comments in modes {
        for bits in 0..16 {
            let [dedupe, takes, shows_retry, bytewise] = [1, 2, 4, 8].map(|bit| bits & bit != 0);
            let decoder = Decoder::new()
                .comments(comments)
                .show_retry_events(shows_retry);
            let mut state =
                EventSourceState::new(Reconnect::fixed(5, SECOND), decoder, 7).dedupe(dedupe);
            answer(&mut state);
            read(&mut state, &[b"id: e.1.AAAA\ndata: a\n\n"], true);
            state.handle_end(now());
            wait(&mut state, now());
            answer(&mut state);
            let chunks: Vec<&[u8]> = body.chunks(if bytewise { 1 } else { 1000 }).collect();
            read(&mut state, &chunks, takes);
            state.handle_end(now());
            let attempt = if succeeds { 1 } else { 2 };
            assert_eq!(
                state.attempt(),
                attempt,
                "{:?} {comments:?} {bits:04b}",
                body.escape_ascii().to_string()
            );
        }
    }
}

#[test]
fn an_attempt_succeeds_with_an_event_an_id_or_a_comment() {
    for body in [
        "data: b\n\n",
        "data\n\ndata: b",
        "id: e.2.AAAA\n\n",
        "id: e.1.AAAA\n\n",
        "id: e.1.AAAA\ndata: again\n\n",
        "id\n\n",
        ":\n",
        ":thump\r",
        "retry: 100\n: a comment\n\n",
    ] {
        check(body, true);
    }
}

#[test]
fn an_attempt_fails_without_an_event_an_id_or_a_comment() {
    for body in [
        "",
        "\n\n\n",
        COME_BACK,
        "<!doctype html>\n<html>\n<p>No.\n\n</html>\n",
        "event: b\n\n",
        "data: b\n",
        "id: e.2.AAAA\n",
        "id: \0\n\n",
        ": a comment",
    ] {
        check(body, false);
    }
}

#[test]
fn after_the_last_attempt_the_session_fails_however_the_last_stream_ends() {
    for body in ["", COME_BACK, "<html>\n</html>\n"] {
        let mut state = EventSourceState::new(Reconnect::fixed(5, SECOND), Decoder::new(), 7);
        for _ in 0..5 {
            answer(&mut state);
            read(&mut state, &[body.as_bytes()], true);
            state.handle_end(now());
            wait(&mut state, now());
        }
        answer(&mut state);
        read(&mut state, &[body.as_bytes()], true);
        state.handle_end(now());
        let failure = EventSourceFailure::OutOfAttempts;
        assert_eq!(state.failure(), Some(&failure));
        assert_eq!(state.poll_action(), Some(EventSourceAction::Fail(failure)));
        assert_eq!(state.poll_timeout(), None);
    }
}

#[test]
fn a_failed_last_attempt_is_the_error() {
    let mut state = EventSourceState::new(Reconnect::fixed(1, SECOND), Decoder::new(), 7);
    answer(&mut state);
    state.handle_end(now());
    wait(&mut state, now());
    answer(&mut state);
    state.handle_network_error(now());
    let failure = EventSourceFailure::Interrupted;
    assert_eq!(state.poll_action(), Some(EventSourceAction::Fail(failure)));
}

#[test]
fn without_attempts_a_clean_end_is_no_failure() {
    for reconnect in [
        Reconnect::off(),
        Reconnect::fixed(0, SECOND),
        Reconnect::standard().max_attempts(0),
    ] {
        let mut state = EventSourceState::new(reconnect, Decoder::new(), 7);
        answer(&mut state);
        state.handle_end(now());
        assert_eq!(state.poll_action(), Some(EventSourceAction::Finish));
    }
}

#[test]
fn a_server_that_says_come_back_later_names_the_least_wait_and_each_answer_is_a_failed_attempt() {
    let time = Duration::from_millis(1500);
    for reconnect in [Reconnect::standard(), Reconnect::persistent()] {
        let mut state = EventSourceState::new(reconnect, Decoder::new(), 7);
        for attempt in 1..100 {
            answer(&mut state);
            read(&mut state, &[COME_BACK.as_bytes()], true);
            let lost = now();
            state.handle_end(lost);
            assert_eq!(state.attempt(), attempt);
            let longest = time * 2_u32.saturating_pow(attempt - 1).min(1000);
            let wait = wait(&mut state, lost);
            assert!(
                (time..=longest.min(MAX_RECONNECTION_DELAY)).contains(&wait),
                "{attempt}: {wait:?}"
            );
        }
        answer(&mut state);
        read(&mut state, &[b"data: at last\n\n"], true);
        let lost = now();
        state.handle_end(lost);
        assert_eq!((state.attempt(), wait(&mut state, lost)), (1, time));
    }
}

#[test]
fn the_end_of_a_stream_within_an_event_is_noted() {
    for (body, unfinished) in [
        ("", false),
        ("data: a\n\n", false),
        ("data: a\n", true),
        ("data: a\r", true),
        ("data: a", true),
        ("data: a\n\nid: 7\n", true),
        ("event: x\n", true),
        ("d", true),
        ("data: a\n\n: thump\n", false),
        ("data: a\n\n: thu", false),
        ("data: a\n: thump\n", true),
        ("retry: 100\n", false),
        ("\u{feff}", false),
    ] {
        for breaks in [false, true] {
            for chunk in [1, 1000] {
                let mut state = EventSourceState::new(Reconnect::standard(), Decoder::new(), 7);
                answer(&mut state);
                let chunks: Vec<&[u8]> = body.as_bytes().chunks(chunk).collect();
                read(&mut state, &chunks, false);
                if breaks {
                    state.handle_network_error(now());
                } else {
                    state.handle_end(now());
                }
                assert_eq!(state.is_unfinished(), unfinished, "{body:?}");
                wait(&mut state, now());
                assert!(!state.is_unfinished());
            }
        }
    }
}
