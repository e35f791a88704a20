//! Faults of other decoders: one test for each rule of the standard that some of them break.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::time::Duration;

use tidings_proto::Decoder;

/// The texts of the events in this stream.
fn check(stream: &str, texts: &[&str]) {
    let mut decoder = Decoder::new();
    let events = decoder.decode(stream.as_bytes());
    let found: Vec<_> = events.map(|event| event.unwrap().data.unwrap()).collect();
    assert_eq!(found, texts, "{stream:?}");
}

#[test]
fn lines_of_data_are_joined_by_lf() {
    check("data: a\ndata: b\n\n", &["a\nb"]);
    check("data: a\r\ndata: b\r\n\r\n", &["a\nb"]);
    check("data\ndata\n\n", &["\n"]);
}

#[test]
fn a_bom_is_not_part_of_the_first_name() {
    check("\u{feff}data: a\n\n", &["a"]);
    check(
        "data: a\n\n\u{feff}data: b\n\ndata: \u{feff}\n\n",
        &["a", "\u{feff}"],
    );
}

#[test]
fn a_line_of_spaces_does_not_end_an_event() {
    check("data: a\n \ndata: b\n\n", &["a\nb"]);
    check("data: a\n\t\n  \ndata: b\n\n", &["a\nb"]);
}

#[test]
fn a_cr_ends_its_line_before_the_next_byte_arrives() {
    check("data: a\r\r", &["a"]);
    let mut decoder = Decoder::new();
    assert_eq!(decoder.decode(b"data: a\r").count(), 0);
    assert_eq!(decoder.decode(b"\r").count(), 1);
    // The next byte may be the LF of a CRLF, so it is not an empty line.
    assert_eq!(decoder.decode(b"\ndata: b\r").count(), 0);
    assert_eq!(decoder.decode(b"\ndata: c\r\n").count(), 0);
    let last = decoder.decode(b"\r\n").next().unwrap().unwrap();
    assert_eq!(last.text(), "b\nc");
}

#[test]
fn a_retry_with_other_characters_than_digits_is_ignored() {
    for retry in ["-5", "+5", "5s", " 5", "1.5", ""] {
        let mut decoder = Decoder::new();
        let stream = format!("retry: 7\n\nretry: {retry}\n\n");
        assert_eq!(decoder.decode(stream.as_bytes()).count(), 0);
        let time = decoder.reconnection_time();
        assert_eq!(time, Some(Duration::from_millis(7)), "{retry:?}");
    }
}
