//! Bodies in each framing, and how each is read. Each is cut at every byte.

use http::Method;

use crate::beside_hyper::{Ending, Reading, by_hyper, by_us};
use crate::pieces::Pieces;

/// How a body is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Read {
    /// Complete.
    Whole,
    /// As incomplete, after its payload.
    Broken,
    /// As complete, whereas hyper refuses it. The reason is in the row.
    WholeButNotByHyper,
}

use Read::{Broken, Whole, WholeButNotByHyper};

/// The header lines, the bytes after the head, the payload, and how they are read.
type Row = (&'static str, &'static str, &'static str, Read);

const CHUNKED: &str = "transfer-encoding: chunked\r\n";

/// Browsers accept a bare LF.
const BARE_LF: Read = WholeButNotByHyper;

/// Nothing reads the trailers.
const ODD_TRAILER: Read = WholeButNotByHyper;

const CHUNKS: &[Row] = &[
    (CHUNKED, "0\r\n\r\n", "", Whole),
    (CHUNKED, "3\r\nabc\r\n0\r\n\r\n", "abc", Whole),
    (
        CHUNKED,
        "3\r\nabc\r\n1\r\nd\r\n2\r\n\r\n\r\n0\r\n\r\n",
        "abcd\r\n",
        Whole,
    ),
    (
        CHUNKED,
        "A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n",
        "01234567890123456789",
        Whole,
    ),
    (
        CHUNKED,
        "10\r\n0123456789abcdef\r\n000\r\n\r\n",
        "0123456789abcdef",
        Whole,
    ),
    (
        CHUNKED,
        "0000000000000000000003\r\nabc\r\n0\r\n\r\n",
        "abc",
        Whole,
    ),
    (CHUNKED, "3 \t \r\nabc\r\n0 \r\n\r\n", "abc", Whole),
    (CHUNKED, "3;a=b\r\nabc\r\n0;c=\"d;e\"\r\n\r\n", "abc", Whole),
    (CHUNKED, "3 ; a\r\nabc\r\n0;\r\n\r\n", "abc", Whole),
    (
        CHUNKED,
        "3\r\nabc\r\n0\r\na: b\r\nc: d\r\n\r\n",
        "abc",
        Whole,
    ),
    (CHUNKED, "3\r\nabc\r\n0\r\n\r\nignored", "abc", Whole),
    (CHUNKED, "3\nabc\n0\n\n", "abc", BARE_LF),
    (CHUNKED, "3 \nabc\n0;a\n\n", "abc", BARE_LF),
    (CHUNKED, "3\r\nabc\n0\r\n\r\n", "abc", BARE_LF),
    (CHUNKED, "3\r\nabc\r\n0\r\na: b\n\r\n", "abc", BARE_LF),
    (CHUNKED, "3\r\nabc\r\n0\r\n\n", "abc", BARE_LF),
    (
        CHUNKED,
        "3\r\nabc\r\n0\r\nno colon\r\n\r\n",
        "abc",
        ODD_TRAILER,
    ),
    (
        CHUNKED,
        "3\r\nabc\r\n0\r\n\u{1}: \0\r\n\r\n",
        "abc",
        ODD_TRAILER,
    ),
    (CHUNKED, "", "", Broken),
    (CHUNKED, "3", "", Broken),
    (CHUNKED, "3\r\n", "", Broken),
    (CHUNKED, "3\r\nab", "ab", Broken),
    (CHUNKED, "3\r\nabc", "abc", Broken),
    (CHUNKED, "3\r\nabc\r\n", "abc", Broken),
    (CHUNKED, "3\r\nabc\r\n0\r\n", "abc", Broken),
    (CHUNKED, "3\r\nabc\r\n0\r\n\r", "abc", Broken),
    (CHUNKED, "3\r\nabc\r\n0\r\na: b", "abc", Broken),
    (CHUNKED, "3\r\nabc\r\n0\r\na: b\r\n", "abc", Broken),
    (CHUNKED, "3\r\nabcd\r\n0\r\n\r\n", "abc", Broken),
    (CHUNKED, "3\r\nabc0\r\n\r\n", "abc", Broken),
    (CHUNKED, "3\r\nabc\r0\r\n\r\n", "abc", Broken),
    (CHUNKED, "3\r\nabc00\r\n\r\n", "abc", Broken),
    (CHUNKED, "3\r\nabc\r\n\r\n0\r\n\r\n", "abc", Broken),
    (CHUNKED, "3\rabc\r\n0\r\n\r\n", "", Broken),
    (CHUNKED, "3 3\r\nabc\r\n0\r\n\r\n", "", Broken),
    (CHUNKED, " 3\r\nabc\r\n0\r\n\r\n", "", Broken),
    (CHUNKED, "\r\n3\r\nabc\r\n0\r\n\r\n", "", Broken),
    (CHUNKED, ";a\r\nabc\r\n0\r\n\r\n", "", Broken),
    (CHUNKED, "3;a\rb\r\nabc\r\n0\r\n\r\n", "", Broken),
    (CHUNKED, "0x3\r\nabc\r\n0\r\n\r\n", "", Broken),
    (CHUNKED, "-3\r\nabc\r\n0\r\n\r\n", "", Broken),
    (CHUNKED, "+3\r\nabc\r\n0\r\n\r\n", "", Broken),
    (CHUNKED, "g\r\nabc\r\n0\r\n\r\n", "", Broken),
    (CHUNKED, "ffffffffffffffff\r\nabc", "abc", Broken),
    (CHUNKED, "10000000000000000\r\nabc", "", Broken),
    (CHUNKED, "10000000000000003\r\nabc\r\n0\r\n\r\n", "", Broken),
    (CHUNKED, "3\r\nabc\r\n0\r\na: b\rc\r\n\r\n", "abc", Broken),
    (CHUNKED, "3\r\nabc\r\n0\r\n\rx", "abc", Broken),
];

const OTHERS: &[Row] = &[
    ("", "", "", Whole),
    ("", "abc\r\n\r\n", "abc\r\n\r\n", Whole),
    ("content-length: 0\r\n", "abc", "", Whole),
    ("content-length: 3\r\n", "abc", "abc", Whole),
    ("content-length: 3\r\n", "abcd", "abc", Whole),
    ("content-length: 003\r\n", "abc", "abc", Whole),
    (
        "content-length: 3\r\ncontent-length: 3\r\n",
        "abc",
        "abc",
        Whole,
    ),
    ("content-length: 3, 3\r\n", "abc", "abc", Whole),
    ("content-length: 3\r\n", "", "", Broken),
    ("content-length: 3\r\n", "ab", "ab", Broken),
    (
        "content-length: 18446744073709551613\r\n",
        "abc",
        "abc",
        Broken,
    ),
    // RFC 9112, section 6.3: a `Transfer-Encoding` overrides a `Content-Length`.
    (
        "content-length: 1\r\ntransfer-encoding: chunked\r\n",
        "3\r\nabc\r\n0\r\n\r\n",
        "abc",
        Whole,
    ),
    (
        "transfer-encoding: chunked\r\ncontent-length: x\r\n",
        "3\r\nabc\r\n0\r\n\r\n",
        "abc",
        Whole,
    ),
    (
        "content-length: 1\r\ntransfer-encoding: x\r\n",
        "abc",
        "abc",
        Whole,
    ),
    // The last coding decides. No other coding was asked for, so it is not decoded.
    (
        "Transfer-Encoding:  ChunkeD \r\n",
        "3\r\nabc\r\n0\r\n\r\n",
        "abc",
        Whole,
    ),
    (
        "transfer-encoding: gzip, chunked\r\n",
        "3\r\nabc\r\n0\r\n\r\n",
        "abc",
        Whole,
    ),
    (
        "transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n",
        "3\r\nabc\r\n0\r\n\r\n",
        "abc",
        Whole,
    ),
    (
        "transfer-encoding: chunked, gzip\r\n",
        "3\r\nabc\r\n0\r\n\r\n",
        "3\r\nabc\r\n0\r\n\r\n",
        Whole,
    ),
    (
        "transfer-encoding: chunked\r\ntransfer-encoding: gzip\r\n",
        "3\r\n",
        "3\r\n",
        Whole,
    ),
    ("transfer-encoding: identity\r\n", "abc", "abc", Whole),
    ("transfer-encoding: \r\n", "abc", "abc", Whole),
    ("transfer-encoding: xchunked\r\n", "abc", "abc", Whole),
    // A decoded body is read chunk by chunk.
    (
        "content-encoding: x\r\ntransfer-encoding: chunked\r\n",
        "3;a\r\nabc\r\n1\r\nd\r\n0\r\n\r\n",
        "abcd",
        Whole,
    ),
    (
        "content-encoding: x\r\ntransfer-encoding: chunked\r\n",
        "3\r\nabc\r\n1\r\nde",
        "abcd",
        Broken,
    ),
];

fn body(reading: Reading) -> Ending {
    reading.expect("the head is accepted").1
}

fn check(start: &str, (headers, bytes, payload, read): Row) {
    let response = format!("{start}\r\n{headers}\r\n{bytes}").into_bytes();
    let expected = Ending {
        body: payload.into(),
        is_complete: read != Broken,
    };
    for cut in 0..=response.len() {
        let found = body(by_us(Method::GET, in_two(&response, cut)));
        assert_eq!(found, expected, "{headers:?} {bytes:?} cut at {cut}");
    }
    let bytewise = body(by_us(Method::GET, Pieces::of_length(&response, 1)));
    assert_eq!(bytewise, expected, "{headers:?} {bytes:?} byte by byte");
    let of_hyper = body(by_hyper(Method::GET, Pieces::of_length(&response, 8192)));
    let agrees = of_hyper == expected;
    assert_eq!(
        agrees,
        read != WholeButNotByHyper,
        "{bytes:?}: {of_hyper:?}"
    );
}

/// The response, cut in front of this byte.
fn in_two(response: &[u8], at: usize) -> Pieces {
    let (first, rest) = response.split_at(at);
    Pieces::new([first.to_vec(), rest.to_vec()])
}

#[test]
fn chunks_are_read_as_the_table_says() {
    for row in CHUNKS {
        check("HTTP/1.1 200 OK", *row);
    }
}

#[test]
fn other_bodies_are_read_as_the_table_says() {
    for row in OTHERS {
        check("HTTP/1.1 200 OK", *row);
    }
    for (headers, bytes, payload, read) in OTHERS {
        if !headers.to_lowercase().contains("transfer-encoding") {
            check("HTTP/1.0 200", (headers, bytes, payload, *read));
        }
    }
}

#[test]
fn a_head_may_end_in_each_way() {
    for head in [
        "HTTP/1.1 200 OK\ncontent-length: 3\n\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 3\n\r\n",
        "HTTP/1.1 200 OK\ncontent-length: 3\r\n\n",
        "\r\n\n\r\nHTTP/1.1 200\r\ncontent-length: \r\n 3\r\n \r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\n\r\nHTTP/1.1 200\r\ncontent-length: 3\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\n",
    ] {
        let response = format!("{head}abc").into_bytes();
        for cut in 0..=response.len() {
            let found = body(by_us(Method::GET, in_two(&response, cut)));
            assert!(
                found.is_complete && found.body == b"abc",
                "{head:?} cut at {cut}: {found:?}"
            );
        }
    }
}

#[test]
fn some_responses_have_no_body() {
    let chunked = format!("{CHUNKED}\r\n3\r\nabc\r\n0\r\n\r\n");
    for (method, status) in [
        (Method::GET, "204 No"),
        (Method::GET, "304 No"),
        (Method::GET, "101 Switching"),
        (Method::HEAD, "200 OK"),
        (Method::HEAD, "404 No"),
        (Method::CONNECT, "200 OK"),
    ] {
        let response = format!("HTTP/1.1 {status}\r\n{chunked}").into_bytes();
        for cut in 0..=response.len() {
            let found = body(by_us(method.clone(), in_two(&response, cut)));
            assert!(
                found.is_complete && found.body.is_empty(),
                "{method} {status}: {found:?}"
            );
        }
    }
}

/// Lines that only separate chunks have limits. hyper limits the extensions of a whole body to 16 KiB,
/// which would end a long stream.
#[test]
fn lines_between_chunks_have_limits() {
    let read = |bytes: &str| {
        let response = format!("HTTP/1.1 200 OK\r\n{CHUNKED}\r\n{bytes}").into_bytes();
        body(by_us(Method::GET, Pieces::of_length(&response, 1000)))
    };
    let extended = |length: usize| format!("1;{}\r\na\r\n", "x".repeat(length));
    let complete = |body: &str| Ending {
        body: body.into(),
        is_complete: true,
    };
    let long = extended(16_000).repeat(10) + "0\r\n\r\n";
    assert_eq!(read(&long), complete("aaaaaaaaaa"));
    for (line, is_complete) in [
        (extended(16 * 1024 - 4), true),
        (extended(16 * 1024 - 3), false),
        (format!("{}1\r\na\r\n", "0".repeat(17_000)), false),
        (format!("1{}\r\na\r\n", " ".repeat(17_000)), false),
    ] {
        assert_eq!(read(&(line + "0\r\n\r\n")).is_complete, is_complete);
    }
    for (length, is_complete) in [(256 * 1024 - 4, true), (256 * 1024 - 3, false)] {
        let trailer = "x".repeat(length);
        let found = read(&format!("0\r\n{trailer}\r\n\r\n"));
        assert_eq!(found.is_complete, is_complete, "{length}");
    }
}
