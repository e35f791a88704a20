//! Responses that the fuzzer found or begins with, and random ones, beside hyper's reading.

use std::fs;
use std::path::Path;

use proptest::prelude::{Strategy, any, prop};
use tidings_testkit::property;

use crate::beside_hyper;

#[test]
fn the_responses_corpus_passes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/responses");
    let mut replayed = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        eprintln!("{}", path.display());
        beside_hyper::check(&fs::read(&path).unwrap());
        replayed += 1;
    }
    assert!(replayed > 0, "{} is empty", folder.display());
}

/// A part of a response: what a head or a body is made of, and what breaks one.
fn part() -> impl Strategy<Value = &'static str> {
    prop::sample::select(
        &[
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.1 100 C\r\n\r\n",
            "HTTP/1.0 200\n",
            "HTTP/1.1 204 No\r\n",
            "transfer-encoding: chunked\r\n",
            "transfer-encoding: gzip\n",
            "content-length: 3\r\n",
            "content-length: 12\n",
            "a: b\r\n",
            " folded\r\n",
            "a : b\n",
            "no colon\r\n",
            "\r\n",
            "\n",
            "\r",
            "\r\n\r\n",
            "\n\n",
            "0\r\n",
            "0\r\n\r\n",
            "3\r\nabc\r\n",
            "3;x\r\nabc\r\n",
            "3\nabc\n",
            "5\r\nab",
            "abc",
            "ff",
            " ",
            ";",
            "\t",
            "\0",
            "content-encoding: x\r\n",
        ][..],
    )
}

#[test]
fn random_responses_are_read_as_by_hyper() {
    let parts = prop::collection::vec(part(), 0..12);
    let values = (any::<u8>(), 0_u8..20, any::<bool>(), parts);
    property::check(&values, |(method, length, begins, parts)| {
        let mut input = vec![method, length];
        if begins {
            input.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        }
        input.extend_from_slice(parts.concat().as_bytes());
        beside_hyper::check(&input);
    });
}
