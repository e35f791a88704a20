//! An `EventSourceState` delivers its decoder's events, at any pace of reading.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod streams;

use std::time::{Instant, SystemTime};

use proptest::collection::vec;
use proptest::prelude::any;
use tidings_proto::{
    Event, EventSourceAction, EventSourceFailure, EventSourceState, Reconnect, ResponseHead,
};
use tidings_testkit::decoding::{Options, Skipped, cut};
use tidings_testkit::{oracle, property};

use crate::streams::{lengths, options, stream};

#[allow(clippy::disallowed_methods, reason = "any instant will do")]
fn now() -> Instant {
    Instant::now()
}

fn open(state: &mut EventSourceState) {
    assert!(matches!(
        state.poll_action(),
        Some(EventSourceAction::Connect { .. })
    ));
    let head = ResponseHead::new(200).content_type(Some("text/event-stream"));
    state.handle_response(head, now(), SystemTime::UNIX_EPOCH);
}

/// What the driver of a session receives.
#[derive(Default)]
struct Taken {
    events: Vec<Event>,
    skipped: Vec<Skipped>,
    end: Option<EventSourceAction>,
}

impl Taken {
    /// Takes at most `count` events, and checks the last event ID after each.
    fn take(&mut self, state: &mut EventSourceState, count: usize) {
        for _ in 0..count {
            if let Some(event) = state.poll_event() {
                assert_eq!(state.last_event_id(), event.id.as_ref());
                self.events.push(event);
                continue;
            }
            match state.poll_action() {
                Some(EventSourceAction::Skipped(event)) => {
                    assert_eq!(state.last_event_id(), event.last_event_id());
                    self.skipped.push(Skipped {
                        events_before: self.events.len(),
                        size: event.size(),
                        last_event_id: state.last_event_id().map(|id| id.as_str().to_owned()),
                    });
                }
                None => return,
                end => {
                    assert!(self.end.is_none());
                    self.end = end;
                }
            }
        }
    }
}

fn check(chunks: &[&[u8]], options: &Options, taken: &[usize], breaks: bool) {
    let expected = oracle::decode(&chunks.concat(), options);
    assert!(!options.skip_large_events || !expected.too_large);
    let mut state = EventSourceState::new(Reconnect::off(), options.decoder(), 7);
    open(&mut state);
    let mut received = Taken::default();
    for (n, chunk) in chunks.iter().enumerate() {
        state.handle_chunk(chunk.to_vec().into());
        let count = taken.get(n % taken.len().max(1)).copied();
        received.take(&mut state, count.unwrap_or(usize::MAX));
    }
    if breaks {
        state.handle_network_error(now());
    } else {
        state.handle_end(now());
    }
    received.take(&mut state, usize::MAX);
    assert_eq!(received.events, expected.events);
    let bytes = chunks.concat();
    if std::str::from_utf8(&bytes).is_err() {
        received.skipped.iter_mut().for_each(|event| event.size = 0);
    }
    assert_eq!(received.skipped, expected.skipped);
    let id = state.last_event_id().map(|id| id.as_str().to_owned());
    if !expected.too_large {
        assert_eq!(id, expected.last_event_id);
    }
    let failure = match received.end {
        Some(EventSourceAction::Finish) => None,
        Some(EventSourceAction::Fail(failure)) => Some(failure),
        other => panic!("{other:?}"),
    };
    match failure {
        Some(EventSourceFailure::EventTooLarge(_)) => assert!(expected.too_large),
        Some(EventSourceFailure::Interrupted) => assert!(breaks && !expected.too_large),
        None => assert!(!breaks && !expected.too_large),
        other => panic!("{other:?}"),
    }
}

#[test]
fn events_do_not_depend_on_when_they_are_taken() {
    let taken = vec(0..4_usize, 0..6);
    property::check(
        &(stream(), lengths(), options(), taken, any::<bool>()),
        |(stream, lengths, options, taken, breaks)| {
            check(&cut(&stream, lengths), &options, &taken, breaks);
        },
    );
}

#[test]
fn large_chunks_are_read_piece_by_piece() {
    let line = |n: usize| match n % 5 {
        0 => format!("data: {n}\n\n"),
        1 => format!("id: {n}\ndata: {n}\ndata: {}\n\n", "x".repeat(n % 7000)),
        2 => format!("event: e\r\ndata: {n}\r\n\r\n"),
        3 => format!(": {n}\r\rdata: größe…\u{feff}{n}\r\r"),
        _ => format!("retry: {n}\n\ndata: {}\n\n", "…".repeat(n % 20_000)),
    };
    let stream: String = (0..400).map(line).collect();
    let options = Options::show_all();
    for size in [1000, 4096, 16 * 1024 - 1, 16 * 1024, 16 * 1024 + 1, 1 << 20] {
        for taken in [vec![], vec![1], vec![0, 3]] {
            let chunks: Vec<&[u8]> = stream.as_bytes().chunks(size).collect();
            check(&chunks, &options, &taken, false);
        }
    }
}
