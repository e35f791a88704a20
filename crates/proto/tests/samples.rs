//! Streams in the style of real producers, with the events that they contain.

use tidings_testkit::decoding::{bytewise, cut};
use tidings_testkit::streams::{Sample, Summary, samples};

fn check(cut: impl for<'a> Fn(&'a [u8]) -> Vec<&'a [u8]>) {
    let samples = samples();
    assert!(!samples.is_empty());
    for Sample {
        name,
        bytes,
        expected,
    } in samples
    {
        assert_eq!(Summary::of(&cut(&bytes)), expected, "{name}");
    }
}

#[test]
fn a_whole_stream_decodes() {
    check(|stream| vec![stream]);
}

#[test]
fn a_stream_in_packets_decodes() {
    check(|stream| stream.chunks(1460).collect());
}

#[test]
fn a_stream_in_single_bytes_decodes() {
    check(bytewise);
}

#[test]
fn a_stream_in_odd_pieces_decodes() {
    check(|stream| cut(stream, (1..2000).map(|n| n * 31 % 1009)));
}
