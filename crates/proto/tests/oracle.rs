//! The decoder beside a naive one, over random streams, cuts and options.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any};
use proptest::prop_oneof;
use tidings_proto::{Comments, Decoder, Event, EventId, MAX_EVENT_BYTES};
use tidings_testkit::decoding::{Options, bytewise, check, cut};
use tidings_testkit::{oracle, property};

fn options() -> impl Strategy<Value = Options> {
    let comments = prop_oneof![
        Just(Comments::Skip),
        Just(Comments::Keep),
        Just(Comments::Show),
        Just(Comments::AtOnce),
    ];
    let limit = prop_oneof![
        4 => Just(MAX_EVENT_BYTES),
        1 => 0..40_usize,
        2 => 40..1000_usize,
    ];
    let id = option::of(prop_oneof![Just(""), Just("before")]);
    (comments, any::<bool>(), limit, id).prop_map(|(comments, show_retry_events, limit, id)| {
        Options {
            comments,
            show_retry_events,
            max_event_bytes: limit,
            last_event_id: id.map(EventId::from_static),
        }
    })
}

/// Bytes that are a stream more often than random ones are.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    vec(piece(), 0..40).prop_map(|pieces| pieces.concat())
}

fn piece() -> impl Strategy<Value = Vec<u8>> {
    let line = (any_of(FIELDS), any_of(VALUES), any_of(LINE_ENDS));
    prop_oneof![
        8 => line.prop_map(|(field, value, end)| [field, value, end].concat()),
        2 => any_of(FIELDS),
        2 => any_of(LINE_ENDS),
        2 => any_of(BROKEN),
        1 => (any_of(REPEATED), 0..300_usize).prop_map(|(text, times)| text.repeat(times)),
        1 => vec(any::<u8>(), 0..8),
    ]
}

fn any_of(texts: &'static [&'static [u8]]) -> impl Strategy<Value = Vec<u8>> {
    (0..texts.len()).prop_map(|at| texts[at].to_vec())
}

const FIELDS: &[&[u8]] = &[
    b"data:",
    b"data: ",
    b"data",
    b"event:",
    b"event: ",
    b"event",
    b"id:",
    b"id: ",
    b"id",
    b"retry:",
    b"retry: ",
    b"retry",
    b":",
    b": ",
    b"unknown: ",
    b"datum: ",
    b"Data: ",
    b" data: ",
];

const LINE_ENDS: &[&[u8]] = &[
    b"\n",
    b"\n",
    b"\n\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\r",
    b"\r\r",
    b"\n\r",
    b"\r\n\n",
];

const VALUES: &[&[u8]] = &[
    b"",
    b"data: x",
    b"x",
    b" x",
    b"1",
    b"0250",
    b"99999999999999999999",
    b"-1",
    b"a:b",
    b" ",
    b"\t",
    b"\0",
    "…".as_bytes(),
    "𝄞".as_bytes(),
    "\u{85}\u{2028}\u{b}".as_bytes(),
    b"\xEF\xBB\xBF",
];

/// Up to 300 of these make lines that are long, or grow when they are decoded.
const REPEATED: &[&[u8]] = &[b"x", "…".as_bytes(), b"\xFF", b"\0"];

/// A BOM, and what might have become one.
const BOMS: &[&[u8]] = &[b"\xEF\xBB\xBF", b"\xEF\xBB", b"\xEF"];

/// Beginnings of characters, and bytes that begin none.
const BROKEN: &[&[u8]] = &[
    b"\xEF",
    b"\xEF\xBB",
    b"\xE2\x82",
    b"\xF0\x9F\x92",
    b"\xC2",
    b"\xED\xA0\x80",
    b"\xC0\x8A",
    b"\xF4\x90",
    b"\xF5",
    b"\x80",
    b"\xFF\xFE",
];

fn lengths() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![
        vec(0..4_usize, 0..200),
        vec(0..20_usize, 0..40),
        vec(0..300_usize, 0..6),
    ]
}

#[test]
fn a_stream_is_read_as_the_oracle_does() {
    property::check(&(stream(), options()), |(stream, options)| {
        check(&[&stream], &options);
    });
}

#[test]
fn cuts_are_invisible() {
    property::check(
        &(stream(), options(), lengths()),
        |(stream, options, lengths)| {
            check(&cut(&stream, lengths), &options);
        },
    );
}

#[test]
fn single_bytes_are_read_as_the_oracle_does() {
    property::check(&(stream(), options()), |(stream, options)| {
        check(&bytewise(&stream), &options);
    });
}

#[test]
fn any_bytes_are_read_as_the_oracle_does() {
    property::check(
        &(vec(any::<u8>(), 0..500), options(), lengths()),
        |(bytes, options, lengths)| {
            check(&cut(&bytes, lengths), &options);
        },
    );
}

#[test]
fn a_bom_is_one_however_it_is_cut() {
    let begun = (any_of(BOMS), stream()).prop_map(|(bom, stream)| [bom, stream].concat());
    property::check(
        &(begun, options(), vec(0..3_usize, 0..6)),
        |(stream, options, lengths)| {
            check(&cut(&stream, lengths), &options);
        },
    );
}

/// The first events of a chunk; the others are dropped with the iterator.
fn first_events(decoder: &mut Decoder, chunk: &[u8], count: usize) -> Vec<Event> {
    decoder.decode(chunk).take(count).flatten().collect()
}

#[test]
fn an_event_comes_with_the_chunk_that_ends_it_though_others_were_dropped() {
    let taken = 0..3_usize;
    property::check(
        &(stream(), options(), lengths(), taken),
        |(stream, options, lengths, taken)| {
            let mut decoder = options.decoder();
            let mut heard = Vec::new();
            let mut fed = 0;
            for chunk in cut(&stream, lengths) {
                fed += chunk.len();
                let expected = oracle::decode(&stream[..fed], &options);
                let events = first_events(&mut decoder, chunk, taken);
                let new = expected.events.iter().skip(heard.len()).take(taken);
                assert!(events.iter().eq(new), "{events:?} of {expected:?}");
                assert_eq!(decoder.last_event_id(), expected.last_event_id.as_deref());
                assert_eq!(decoder.reconnection_time(), expected.reconnection_time);
                heard = expected.events;
            }
        },
    );
}

#[test]
fn a_reset_keeps_only_the_id_and_the_reconnection_time() {
    property::check(
        &(stream(), stream(), options()),
        |(first, second, mut options)| {
            let mut decoder = options.decoder();
            decoder.decode(&first).for_each(drop);
            let before = oracle::decode(&first, &options);
            decoder.reset();

            let events: Vec<Event> = decoder.decode(&second).flatten().collect();
            let id = before.last_event_id.map(EventId::new);
            options.last_event_id = id.transpose().expect("an id that was heard");
            let after = oracle::decode(&second, &options);
            assert_eq!(events, after.events);
            assert_eq!(decoder.last_event_id(), after.last_event_id.as_deref());
            assert_eq!(
                decoder.reconnection_time(),
                after.reconnection_time.or(before.reconnection_time)
            );
        },
    );
}
