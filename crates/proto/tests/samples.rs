//! Streams as real producers send them, with what is to be heard in them.

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
fn a_whole_stream_is_heard() {
    check(|stream| vec![stream]);
}

#[test]
fn a_stream_in_packets_is_heard() {
    check(|stream| stream.chunks(1460).collect());
}

#[test]
fn a_stream_in_single_bytes_is_heard() {
    check(bytewise);
}

#[test]
fn a_stream_in_odd_pieces_is_heard() {
    check(|stream| cut(stream, (1..2000).map(|n| n * 31 % 1009)));
}
