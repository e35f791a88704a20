//! The law that a decoder returns each encoded event unchanged.

use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any};
use proptest::prop_oneof;
use tidings_proto::{EncodedEvents, Event, EventId, EventName};
use tidings_testkit::decoding::{Options, decode};
use tidings_testkit::{property, round_trip};

fn event() -> impl Strategy<Value = Event> {
    let retry = prop_oneof![
        (0..10_000_u64).prop_map(Duration::from_millis),
        any::<Duration>(),
    ];
    (
        option::of(text()),
        option::of(name()),
        option::of(id()),
        option::of(retry),
        option::of(text()),
    )
        .prop_map(|(data, event, id, retry, comments)| Event {
            data,
            event,
            id,
            retry,
            comments,
        })
}

fn name() -> impl Strategy<Value = EventName> {
    text()
        .prop_map(|text| text.replace(['\r', '\n'], ""))
        .prop_map(|text| EventName::new(text).expect("line ends are removed"))
}

fn id() -> impl Strategy<Value = EventId> {
    text()
        .prop_map(|text| text.replace(['\r', '\n', '\0'], ""))
        .prop_map(|text| EventId::new(text).expect("line ends and NUL are removed"))
}

/// Any text, and text that looks like lines of a stream.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("\n"),
        Just("\r"),
        Just("\r\n"),
        Just(" "),
        Just(":"),
        Just("\u{feff}"),
        Just("\0"),
        Just("data: "),
        Just("id"),
        Just("x"),
        Just("…"),
        Just("\u{2028}"),
    ];
    prop_oneof![
        any::<String>(),
        vec(piece, 0..12).prop_map(|pieces| pieces.concat()),
        (0..70_usize).prop_map(|length| "x".repeat(length * length)),
    ]
}

#[test]
fn an_event_is_received_as_it_was_sent() {
    property::check(&event(), |event| round_trip::check(&[event]));
}

#[test]
fn events_in_a_row_are_received_with_the_id_in_effect() {
    property::check(&vec(event(), 0..8), |events| round_trip::check(&events));
}

#[test]
fn a_relay_changes_nothing() {
    property::check(&vec(event(), 0..8), |sent| {
        let received = round_trip::received(&sent);
        let relayed: EncodedEvents = received.iter().collect();
        let received_again = decode(&[relayed.bytes()], &Options::show_all());
        assert_eq!(received_again.events, received);
    });
}
