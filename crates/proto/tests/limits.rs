//! The bytes that count toward `max_event_bytes`, to the byte and for each cut of the chunks.

use tidings_proto::{Comments, Decoder};
use tidings_testkit::decoding::{Decoded, Options, check_every_cut, decode};

/// The stream needs exactly this limit: it decodes with it, and fails with a smaller one.
fn check(comments: Comments, stream: &str, needs: usize) {
    check_bytes(comments, stream.as_bytes(), needs);
}

fn check_bytes(comments: Comments, stream: &[u8], needs: usize) {
    for limit in needs.saturating_sub(2)..=needs + 2 {
        let options = Options {
            comments,
            max_event_bytes: limit,
            ..Options::show_all()
        };
        let Decoded { too_large, .. } = decode(&[stream], &options);
        assert_eq!(
            too_large,
            limit < needs,
            "b\"{}\" under {limit}",
            stream.escape_ascii()
        );
        check_every_cut(stream, &options);
    }
}

#[test]
fn a_whole_line_counts() {
    check(Comments::Skipped, "data: abc\n\n", "data: abc".len());
    check(Comments::Skipped, "data:abc\r\n\r\n", "data:abc".len());
    check(Comments::Skipped, "data\r\r", "data".len());
    check(Comments::Skipped, "event: abc\n\n", "event: abc".len());
    check(Comments::Skipped, "id: abc\n\n", "id: abc".len());
    check(Comments::Skipped, "id: a\0c\n\n", "id: a\0c".len());
    check(Comments::Skipped, "retry: 250\n\n", "retry: 250".len());
    check(Comments::Skipped, "unknown: abc\n\n", "unknown: abc".len());
    check(Comments::Skipped, " \n\n", " ".len());
}

#[test]
fn the_received_part_of_a_line_counts() {
    check(Comments::Skipped, "data: ab", "data: ab".len());
    check(
        Comments::Skipped,
        "data: ab\n\ndata: abc",
        "data: abc".len(),
    );
    check(Comments::Skipped, "data: ab\ndat", "data: ab".len());
    check(
        Comments::Skipped,
        "data: abcdefgh\nda",
        "data: abcdefgh".len(),
    );
}

#[test]
fn a_block_counts_its_values_and_the_current_line() {
    check(
        Comments::Skipped,
        "data: abc\ndata: d\n\n",
        3 + "data: d".len(),
    );
    check(
        Comments::Skipped,
        "data: abc\ndata: d\ndata: e\n\n",
        "abc\nd".len() + "data: e".len(),
    );
    check(
        Comments::Skipped,
        "data\ndata\ndata\ndata\n\n",
        2 + "data".len(),
    );
    check(
        Comments::Skipped,
        "event: ab\nid: cde\ndata: f\n\n",
        "ab".len() + "cde".len() + "data: f".len(),
    );
    check(
        Comments::Skipped,
        "data: abcd\nunknown: e\n\n",
        "abcd".len() + "unknown: e".len(),
    );
    check(
        Comments::Skipped,
        "data: abcdef\nevent: g",
        6 + "event: g".len(),
    );
}

#[test]
fn a_replaced_value_no_longer_counts() {
    check(
        Comments::Skipped,
        "event: abcdefgh\nevent: i\ndata: jklmnop\n\n",
        "abcdefgh".len() + "event: i".len(),
    );
    check(
        Comments::Skipped,
        "id: abcdefgh\nid:\ndata: ijklmnop\n\n",
        "data: ijklmnop".len(),
    );
}

#[test]
fn an_ignored_id_is_not_held() {
    check(
        Comments::Skipped,
        "id: abc\0defgh\ndata: ijklmn\n\n",
        "id: abc\0defgh".len(),
    );
}

#[test]
fn the_last_event_id_does_not_count() {
    check(Comments::Skipped, "id: abcdefgh\n\ndata: abcdefg\n\n", 13);
}

#[test]
fn a_finished_block_no_longer_counts() {
    check(
        Comments::Skipped,
        "data: abc\n\ndata: abc\n\ndata: abc\n\n",
        9,
    );
    check(Comments::Skipped, "event: abcd\n\ndata: abcde\n\n", 11);
}

#[test]
fn a_skipped_comment_does_not_count() {
    check(Comments::Skipped, ": as long as it likes\ndata\n\n", 4);
    check(Comments::Skipped, "data\n\n: as long as it likes", 4);
    check(
        Comments::Skipped,
        "\u{feff}: as long as it likes\ndata\n\n",
        4,
    );
}

#[test]
fn a_shown_comment_counts() {
    check(Comments::Shown, ": abc\n\n", 5);
    check(
        Comments::Shown,
        ": abc\n: d\ndata: e\n\n",
        "abc\nd".len() + 7,
    );
    check(Comments::Shown, ":\n:\n:\n:\n\n", 2 + ":".len());
}

#[test]
fn an_attached_comment_counts_only_as_a_line() {
    check(Comments::Attached, ": abc\n\n", 5);
    check(Comments::Attached, ": abc\n: d\ndata: e\n\n", 7);
    check(Comments::Attached, ":\n:\n:\n:\n\n", ":".len());
}

#[test]
fn an_immediate_comment_counts_only_as_a_line() {
    check(Comments::Immediate, ": abcdef\n: abcdef\ndata: e\n\n", 8);
    check(
        Comments::Immediate,
        "data: a\n: b\n: cdefg\n\n",
        1 + ": cdefg".len(),
    );
}

#[test]
fn a_byte_that_is_not_utf_8_counts_as_its_replacement() {
    check_bytes(Comments::Skipped, b"data: \xFF\n\n", "data: \u{fffd}".len());
    check_bytes(Comments::Skipped, b"data: \xE2\x82\n\n", 6 + 3);
    check_bytes(Comments::Skipped, b"\xFF\xFF\xFF\n\n", 9);
    check_bytes(Comments::Skipped, b"data: \xFF\xFF\ndata: \xFF\n\n", 6 + 9);
    check_bytes(Comments::Skipped, b"data: \xFF\xFF", 6 + 2);
}

#[test]
fn a_bom_and_line_ends_do_not_count() {
    check(Comments::Skipped, "\u{feff}data\n\n", 4);
    check(Comments::Skipped, "\u{feff}\u{feff}data\n\n", 3 + 4);
    check(Comments::Skipped, "\r\n\n\r\r\n\n", 0);
    check_bytes(Comments::Skipped, b"\xEF\xBB", 0);
    check_bytes(Comments::Skipped, b"\xEF\xBBx", 3);
}

#[test]
fn events_before_the_limit_are_delivered_and_none_after_it() {
    let mut decoder = Decoder::new().max_event_bytes(9);
    let stream = b"retry: 1\nid: 1\ndata: ab\n\nid: 2\ndata: too long\n\ndata: c\n\n";
    let mut events = decoder.decode(stream);
    assert_eq!(events.next().unwrap().unwrap().text(), "ab");
    assert_eq!(events.next().unwrap().unwrap_err().limit(), 9);
    assert!(events.next().is_none());
    drop(events);
    assert_eq!(decoder.last_event_id(), Some("1"));

    assert!(decoder.decode(b"\n\ndata: d\n\n").next().unwrap().is_err());
    decoder.reset();
    let event = decoder.decode(b"data: d\n\n").next().unwrap().unwrap();
    assert_eq!((event.text(), event.id.as_deref()), ("d", Some("1")));
}

#[test]
fn endless_attached_comments_do_not_end_the_stream() {
    let limit = 1024 * 1024;
    let mut decoder = Decoder::new()
        .comments(Comments::Attached)
        .max_event_bytes(limit);
    for _ in 0..1_000_000 {
        assert!(decoder.decode(b":thump\n").next().is_none());
    }
    let mut events = decoder.decode(b"data: a\n: last\n\n");
    let event = events.next().unwrap().unwrap();
    let comments = event.comments.unwrap();
    assert!(comments.len() <= 64 * 1024, "{}", comments.len());
    assert_eq!(&comments[comments.len() - 10..], "thump\nlast");
    assert_eq!(event.data.unwrap(), "a");
}

/// Under this limit, the stream decodes to these events, and to these skipped ones with their sizes and
/// IDs. Each cut of the stream gives the same result.
fn check_skipped(
    comments: Comments,
    stream: &str,
    limit: usize,
    events: &[&str],
    skipped: &[(usize, &str)],
) {
    let options = Options {
        comments,
        max_event_bytes: limit,
        skip_large_events: true,
        ..Options::show_all()
    };
    check_every_cut(stream.as_bytes(), &options);
    let decoded = decode(&[stream.as_bytes()], &options);
    let texts: Vec<&str> = decoded
        .events
        .iter()
        .map(tidings_proto::Event::text)
        .collect();
    assert_eq!(texts, events, "{stream:?}");
    let found: Vec<(usize, &str)> = decoded
        .skipped
        .iter()
        .map(|event| (event.size, event.last_event_id.as_deref().unwrap_or("none")))
        .collect();
    assert_eq!(found, skipped, "{stream:?}");
}

#[test]
fn a_skipped_event_ends_at_its_empty_line_and_its_id_counts() {
    let check = |stream, events: &[&str], skipped: &[(usize, &str)]| {
        check_skipped(Comments::Skipped, stream, 12, events, skipped);
    };
    check("data: 1234567\n\ndata: b\n\n", &["b"], &[(13, "none")]);
    check(
        "id: 1\ndata: 123456\n\ndata: b\n\n",
        &["b"],
        &[(1 + 12, "1")],
    );
    // The ID may follow the line that exceeds the limit.
    check(
        "data: 123456789\nid: 1\nid: 2\r\n\r\ndata: b\n\n",
        &["b"],
        &[(15 + 5 + 5, "2")],
    );
    check("data: 123456789\nid:\n\n", &[], &[(15 + 3, "")]);
    check("data: 123456789\nid: a\0\n\n", &[], &[(15 + 6, "none")]);
    // Several lines together.
    check(
        "data: 1234\ndata: 5678\ndata: 9\n\ndata: b\n\n",
        &["b"],
        &[(4 + 10 + 7, "none")],
    );
    // An ID that is too long itself is lost, and the one before stays.
    check(
        "id: 1\n\nid: 123456789\ndata: a\n\ndata: b\n\nid: 2\ndata: c\n\n",
        &["b", "c"],
        &[(13 + 7, "1")],
    );
    check(
        "id: 1\nid: 123456789\ndata: a\n\ndata: b\n\n",
        &["b"],
        &[(1 + 13 + 7, "1")],
    );
    // Of an event without an end, nothing counts.
    check("id: 1\n\ndata: 1234567\nid: 2\n", &[], &[]);
    check("data: 12345678901234567890", &[], &[]);
    // Several, with events between and without.
    check(
        "data: 1234567\n\ndata: 12345678\n\ndata: b\n\nfield: 1234567\n\n",
        &["b"],
        &[(13, "none"), (14, "none"), (14, "none")],
    );
}

#[test]
fn comments_and_a_retry_within_a_skipped_event() {
    let stream = "data: 1234567\n: note\n: a longer note\nretry: 70\n\ndata: b\n\n";
    let check = |comments, events: &[&str], size| {
        check_skipped(comments, stream, 12, events, &[(size, "none")]);
    };
    check(Comments::Skipped, &["b"], 13 + 9);
    check(Comments::Attached, &["b"], 13 + 6 + 15 + 9);
    check(Comments::Shown, &["b"], 13 + 6 + 15 + 9);
    // The short comment is an event of its own.
    check(Comments::Immediate, &["", "b"], 13 + 6 + 15 + 9);
    let mut decoder = Decoder::new().max_event_bytes(12).skip_large_events(true);
    assert_eq!(decoder.decode(stream.as_bytes()).count(), 2);
    let time = std::time::Duration::from_millis(70);
    assert_eq!(decoder.reconnection_time(), Some(time));
}

#[test]
fn a_reset_within_a_skipped_event_restores_the_limit() {
    let mut decoder = Decoder::new().max_event_bytes(12).skip_large_events(true);
    assert_eq!(decoder.decode(b"data: 1234567890").count(), 0);
    assert!(decoder.is_within_event());
    decoder.reset();
    assert!(!decoder.is_within_event());
    assert_eq!(decoder.decode(b"data: a\ndata: b\n\n").flatten().count(), 1);
}

#[test]
fn the_error_has_the_size_so_far_and_the_id_before_the_event() {
    let mut decoder = Decoder::new().max_event_bytes(9);
    let mut events = decoder.decode(b"id: 1\n\nid: 2\ndata: too long\n\n");
    let error = events.next().unwrap().unwrap_err();
    assert_eq!((error.limit(), error.size()), (9, 1 + 14));
    assert_eq!(error.last_event_id().unwrap(), "1");
    assert_eq!(
        error.to_string(),
        "the server sent an event of at least 15 bytes, over the limit of 9; `max_event_bytes` sets the limit"
    );
}
