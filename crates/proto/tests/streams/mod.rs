//! Random streams for property tests.
#![allow(dead_code, reason = "no test uses all of it")]

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any};
use proptest::prop_oneof;
use tidings_proto::{Comments, EventId, MAX_EVENT_BYTES};
use tidings_testkit::decoding::Options;

pub(crate) fn options() -> impl Strategy<Value = Options> {
    let comments = prop_oneof![
        Just(Comments::Skipped),
        Just(Comments::Attached),
        Just(Comments::Shown),
        Just(Comments::Immediate),
    ];
    let limit = prop_oneof![
        4 => Just(MAX_EVENT_BYTES),
        1 => 0..40_usize,
        2 => 40..1000_usize,
    ];
    let id = option::of(prop_oneof![Just(""), Just("before")]);
    (comments, any::<bool>(), limit, any::<bool>(), id).prop_map(
        |(comments, show_retry_events, limit, skip_large_events, id)| Options {
            comments,
            show_retry_events,
            max_event_bytes: limit,
            skip_large_events,
            last_event_id: id.map(EventId::from_static),
        },
    )
}

/// Bytes that are more often a meaningful stream than random bytes are.
pub(crate) fn stream() -> impl Strategy<Value = Vec<u8>> {
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

pub(crate) fn any_of(texts: &'static [&'static [u8]]) -> impl Strategy<Value = Vec<u8>> {
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

/// Up to 300 of these make long lines, or lines that grow when they are decoded.
const REPEATED: &[&[u8]] = &[b"x", "…".as_bytes(), b"\xFF", b"\0"];

/// A BOM, and beginnings of one.
pub(crate) const BOMS: &[&[u8]] = &[b"\xEF\xBB\xBF", b"\xEF\xBB", b"\xEF"];

/// Beginnings of characters, and bytes that cannot begin a character.
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

pub(crate) fn lengths() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![
        vec(0..4_usize, 0..200),
        vec(0..20_usize, 0..40),
        vec(0..300_usize, 0..6),
    ]
}
