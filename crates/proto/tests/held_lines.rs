//! Long lines that are divided between chunks, compared with the oracle.

mod streams;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any};
use proptest::prop_oneof;
use tidings_proto::{Comments, Decoder, MAX_EVENT_BYTES};
use tidings_testkit::decoding::{Options, bytewise, check, cut};
use tidings_testkit::property;

use crate::streams::{BOMS, any_of};

/// Lines that are much longer than the beginnings that name their field.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let value = (any_of(CHARACTERS), any_of(CHARACTERS), 0..2_000_usize)
        .prop_map(|(one, other, times)| [one, other].concat().repeat(times));
    let line = (any_of(FIELDS), value, any_of(INSERTED), any_of(LINE_ENDS))
        .prop_map(|(field, value, inserted, end)| [field, value, inserted, end].concat());
    let bom = prop_oneof![3 => Just(Vec::new()), 1 => any_of(BOMS)];
    (bom, vec(line, 1..6)).prop_map(|(bom, lines)| [bom, lines.concat()].concat())
}

const FIELDS: &[&[u8]] = &[
    b"data: ",
    b"data: ",
    b"data:",
    b"data:  ",
    b"data",
    b"event: ",
    b"id: ",
    b"retry: ",
    b": ",
    b"unknown: ",
    b"",
];

const CHARACTERS: &[&[u8]] = &[
    b"x",
    b"1",
    "ß".as_bytes(),
    "…".as_bytes(),
    "𝄞".as_bytes(),
    b"\xFF",
    b"\xE2\x82",
    b"\xF0\x9F\x92",
    b"\xED\xA0\x80",
];

const INSERTED: &[&[u8]] = &[b"", b"", b"\0", b":", b" ", b"\xEF\xBB\xBF", b"\xC2"];

const LINE_ENDS: &[&[u8]] = &[
    b"\n",
    b"\r\n",
    b"\r",
    b"\n\n",
    b"\r\n\r\n",
    b"\r\r",
    b"\n\r\n",
];

/// Limits that some of the lines and blocks exceed.
fn options() -> impl Strategy<Value = Options> {
    let limit = prop_oneof![Just(MAX_EVENT_BYTES), 0..30_000_usize];
    let comments = prop_oneof![
        Just(Comments::Skipped),
        Just(Comments::Attached),
        Just(Comments::Shown),
        Just(Comments::Immediate),
    ];
    (limit, comments, any::<bool>()).prop_map(|(limit, comments, skip)| Options {
        comments,
        max_event_bytes: limit,
        skip_large_events: skip,
        ..Options::show_all()
    })
}

#[test]
fn long_lines_cut_anywhere_decode_as_by_the_oracle() {
    let lengths = prop_oneof![vec(0..4_000_usize, 0..40), vec(0..12_usize, 0..400)];
    property::check(
        &(stream(), options(), lengths),
        |(stream, options, lengths)| {
            check(&cut(&stream, lengths), &options);
        },
    );
}

#[test]
fn chunks_of_one_size_decode_as_by_the_oracle() {
    property::check(
        &(stream(), options(), 1..3_000_usize),
        |(stream, options, size)| {
            check(&stream.chunks(size).collect::<Vec<_>>(), &options);
        },
    );
}

/// Checks the stream in single bytes, and cut in three at each pair of offsets.
fn check_cuts_in_three(stream: &[u8], options: &Options) {
    check(&bytewise(stream), options);
    for first in 0..=stream.len() {
        for second in 0..=stream.len() - first {
            check(&cut(stream, [first, second]), options);
        }
    }
}

#[test]
fn a_line_end_or_a_bom_may_be_cut_within_or_beside_a_held_line() {
    for stream in [
        "data: first line\r\ndata: second\r\n\r\ndata: x\n\n",
        "data: first line\rdata: second\r\rdata: x\r\r",
        "data: first line\n\rdata: second\r\n\n",
        "\u{feff}data: after a BOM\r\n\r\n",
        "data: \u{feff}text\u{feff}\r\n\r\n\u{feff}data: name\r\n\r\n",
        "event: a name\r\nid: an id\r\nretry: 1234567\r\ndata\r\n\r\n",
    ] {
        check_cuts_in_three(stream.as_bytes(), &Options::show_all());
    }
}

#[test]
fn a_character_may_be_cut_in_three() {
    for stream in [
        "data: 𝄞ß…\nevent: 𝄞\nid: 𝄞\n: 𝄞\n\n".as_bytes(),
        b"data: \xF0\x9F\x92A\xE2\x82\xF0\x9D\x84\x9E\xC2\n\n",
        b"\xEF\xBB\xEF\xBB\xBFdata: a\ndata: \xE2\x82\r\r",
    ] {
        check_cuts_in_three(stream, &Options::show_all());
    }
}

#[test]
fn names_ids_and_comments_may_be_held() {
    for stream in [
        "event: first name\nevent: other name\nid: first id\nid: other id\ndata\n\n",
        "id: kept\nid: with a \0 inside\ndata\n\n",
        ": first comment\n: other comment\ndata: a\n: third\n\n",
        "unknown: line\ndatas: line\ndata line\neventful\nids: x\nretry: 12345678\ndata\n\n",
    ] {
        for comments in [Comments::Attached, Comments::Shown, Comments::Immediate] {
            let options = Options {
                comments,
                ..Options::show_all()
            };
            check_cuts_in_three(stream.as_bytes(), &options);
        }
    }
}

/// The number of parts of this many bytes that a decoder with this limit accepts: `text` is held, then the
/// parts continue its last line.
fn accepted(limit: usize, text: &str, part: usize) -> usize {
    let mut decoder = Decoder::new().max_event_bytes(limit);
    assert_eq!(decoder.decode(text.as_bytes()).count(), 0);
    let part = "x".repeat(part);
    let accepts = |_: &usize| decoder.decode(part.as_bytes()).next().is_none();
    (0..).take_while(accepts).count()
}

#[test]
fn the_first_byte_over_the_limit_is_an_error_in_its_chunk() {
    for (text, held) in [
        ("data: ", 6),
        ("event: ", 7),
        ("id: ", 4),
        ("unknown: ", 9),
        (": ", 2),
        // The data of the block, then the whole line.
        ("data: abc\ndata: ", 3 + 6),
        ("data: abc\nid: 12\ndata: ", 3 + 2 + 6),
    ] {
        assert_eq!(accepted(5_000, text, 1), 5_000 - held, "{text:?}");
        assert_eq!(accepted(held + 10 * 1460, text, 1460), 10, "{text:?}");
        assert_eq!(accepted(held + 10 * 1460 - 1, text, 1460), 9, "{text:?}");
    }
}

#[test]
fn an_event_of_exactly_the_limit_is_whole() {
    let value = "x".repeat(100_000);
    let line = format!("data: {value}");
    for (limit, is_whole) in [(line.len() - 1, false), (line.len(), true)] {
        let mut decoder = Decoder::new().max_event_bytes(limit);
        let stream = format!("{line}\n\n");
        let mut events = Vec::new();
        for chunk in stream.as_bytes().chunks(1460) {
            events.extend(decoder.decode(chunk));
        }
        if is_whole {
            assert_eq!(events.remove(0).expect("within the limit").text(), value);
        }
        assert_eq!(events.is_empty(), is_whole);
        assert!(events.iter().all(Result::is_err));
    }
}
