//! Streams that try to exhaust the memory of a decoder. It never holds more than its docs promise.

use std::alloc::System;
use std::hint::black_box;
use std::iter;
use std::sync::{Mutex, PoisonError};

use cap::Cap;
use tidings_proto::{Comments, Decoder, EventTooLarge, MAX_EVENT_BYTES};

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// The allocator counts all threads, so only one test runs at a time.
static ALONE: Mutex<()> = Mutex::new(());

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const GIB: usize = 1024 * MIB;

const CHUNK: usize = 64 * KIB;

/// The limit of a block in the tests. It is not a size that doubling a buffer leads to.
const LIMIT: usize = 5_000_000;

/// Room for the text of a chunk in which each byte is replaced, and for the harness itself.
const SLACK: usize = 4 * CHUNK;

/// The maximum bytes that this work held at once, and the bytes that it still holds at its end.
fn measure<T>(work: impl FnOnce() -> T) -> (usize, usize, T) {
    // The allocator's peak never falls. An unused ballast raises the current level up to it.
    let to_peak = ALLOCATOR.max_allocated() - ALLOCATOR.allocated();
    let ballast = black_box(vec![0_u8; to_peak]);
    let ground = ALLOCATOR.allocated();
    let out = work();
    let peak = ALLOCATOR.max_allocated().saturating_sub(ground);
    let left = ALLOCATOR.allocated().saturating_sub(ground);
    drop(ballast);
    (peak, left, out)
}

fn alone<T>(test: impl FnOnce() -> T) -> T {
    let _guard = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    test()
}

/// Counts the events. Borrowed events leave nothing in memory.
fn feed(decoder: &mut Decoder, chunk: &[u8]) -> Result<usize, EventTooLarge> {
    let mut events = decoder.decode(chunk);
    let mut count = 0;
    while events.try_next_ref()?.is_some() {
        count += 1;
    }
    Ok(count)
}

/// Feeds this byte `times` times, in chunks that need no memory of their own.
fn feed_repeated(decoder: &mut Decoder, byte: u8, mut times: usize) -> Result<(), EventTooLarge> {
    let chunk = [byte; CHUNK];
    while times > 0 {
        let length = times.min(CHUNK);
        feed(decoder, &chunk[..length])?;
        times -= length;
    }
    Ok(())
}

/// Feeds a line: this beginning, then this byte `times` times, then LF.
fn feed_line(
    decoder: &mut Decoder,
    begin: &str,
    byte: u8,
    times: usize,
) -> Result<(), EventTooLarge> {
    feed(decoder, begin.as_bytes())?;
    feed_repeated(decoder, byte, times)?;
    feed(decoder, b"\n").map(drop)
}

/// A line without an end fails at the limit. Another GiB of it needs no more memory.
fn check_endless_line(limit: usize) {
    alone(|| {
        let mut decoder = Decoder::new().max_event_bytes(limit);
        let chunk = [b'x'; CHUNK];
        let (peak, ..) = measure(|| {
            for _ in 0..limit / CHUNK {
                assert_eq!(feed(&mut decoder, &chunk), Ok(0));
            }
            assert_eq!(feed(&mut decoder, &chunk[..limit % CHUNK]), Ok(0));
            for _ in 0..GIB / CHUNK {
                let error = feed(&mut decoder, &chunk).expect_err("it is over the limit");
                assert_eq!(error.limit(), limit);
            }
        });
        assert!(peak <= limit + CHUNK, "{peak}");
    });
}

#[test]
fn a_line_without_end_is_an_error_at_the_limit() {
    check_endless_line(MAX_EVENT_BYTES);
    check_endless_line(LIMIT);
}

#[test]
fn a_skipped_comment_is_never_held() {
    alone(|| {
        for begin in [": ", ":", "\u{feff}:"] {
            let mut decoder = Decoder::new().comments(Comments::Skipped);
            let (peak, ..) = measure(|| {
                feed(&mut decoder, begin.as_bytes()).unwrap();
                feed_repeated(&mut decoder, b'x', GIB).unwrap();
                assert_eq!(feed(&mut decoder, b"\ndata\n\n"), Ok(1));
            });
            assert!(peak <= CHUNK, "{begin:?}: {peak}");
        }
    });
}

#[test]
fn a_comment_is_skipped_after_a_bom_in_single_bytes() {
    alone(|| {
        let mut decoder = Decoder::new().comments(Comments::Skipped);
        let (peak, ..) = measure(|| {
            for byte in b"\xEF\xBB\xBF:" {
                feed(&mut decoder, &[*byte]).unwrap();
            }
            feed_repeated(&mut decoder, b'x', 64 * MIB).unwrap();
        });
        assert!(peak <= CHUNK, "{peak}");
    });
}

#[test]
fn empty_lines_need_no_memory() {
    alone(|| {
        let mut decoder = Decoder::new();
        let lines = b"\n\r\r\n".repeat(250_000);
        let (peak, ..) = measure(|| assert_eq!(feed(&mut decoder, &lines), Ok(0)));
        assert!(peak <= CHUNK, "{peak}");
    });
}

#[test]
fn a_stream_in_single_bytes_needs_no_more_memory() {
    alone(|| {
        let mut decoder = Decoder::new();
        let stream = b"event: tick\nid: 1\ndata: abcdefgh\n\n".repeat(30_000);
        let (peak, _, count) = measure(|| {
            let count = |byte: &u8| feed(&mut decoder, &[*byte]).unwrap();
            stream.iter().map(count).sum::<usize>()
        });
        assert_eq!(count, 30_000);
        assert!(peak <= CHUNK, "{peak}");
    });
}

#[test]
fn a_line_in_single_bytes_is_copied_a_fixed_number_of_times() {
    alone(|| {
        let mut decoder = Decoder::new();
        let before = ALLOCATOR.total_allocated();
        feed(&mut decoder, b"data: ").unwrap();
        for _ in 0..LIMIT {
            feed(&mut decoder, b"x").unwrap();
        }
        assert_eq!(feed(&mut decoder, b"\n\n"), Ok(1));
        let allocated = ALLOCATOR.total_allocated() - before;
        assert!(allocated <= 6 * LIMIT, "{:.2} times", ratio(allocated));
    });
}

#[test]
fn lines_of_data_in_single_bytes_are_copied_a_fixed_number_of_times() {
    alone(|| {
        let mut decoder = Decoder::new();
        let before = ALLOCATOR.total_allocated();
        let line = b"data: 0123456789abcdefghijklmnopqrstuvwxyz\n";
        for byte in line.iter().cycle().take(LIMIT / line.len() * line.len()) {
            feed(&mut decoder, &[*byte]).unwrap();
        }
        assert_eq!(feed(&mut decoder, b"\n"), Ok(1));
        let allocated = ALLOCATOR.total_allocated() - before;
        assert!(allocated <= 4 * LIMIT, "{:.2} times", ratio(allocated));
    });
}

#[test]
fn an_id_may_be_as_long_as_the_limit() {
    alone(|| {
        let longest = MAX_EVENT_BYTES - "id: ".len();
        let mut decoder = Decoder::new();
        feed_line(&mut decoder, "id: ", b'7', longest).unwrap();
        let event = decoder.decode(b"\ndata\n\n").next().unwrap().unwrap();
        assert_eq!(event.id.unwrap().len(), longest);

        let mut decoder = Decoder::new();
        assert!(feed_line(&mut decoder, "id: ", b'7', longest + 1).is_err());
    });
}

#[test]
fn a_nul_anywhere_in_a_long_id_refuses_it() {
    alone(|| {
        let mut decoder = Decoder::new();
        feed(&mut decoder, b"id: 1\n").unwrap();
        feed(&mut decoder, b"id: ").unwrap();
        feed_repeated(&mut decoder, b'7', MIB).unwrap();
        feed(&mut decoder, b"\0").unwrap();
        feed_repeated(&mut decoder, b'7', MIB).unwrap();
        feed(&mut decoder, b"\n\n").unwrap();
        assert_eq!(decoder.last_event_id(), Some("1"));
    });
}

/// A block of the largest size. `max_event_bytes` promises at most twice the limit.
fn check_block(what: &str, write: impl FnOnce(&mut Decoder) -> Result<(), EventTooLarge>) {
    alone(|| {
        let mut decoder = Decoder::new()
            .max_event_bytes(LIMIT)
            .comments(Comments::Attached);
        let (peak, ..) = measure(|| write(&mut decoder).expect("no limit is hit"));
        assert!(
            peak <= 2 * LIMIT + SLACK,
            "{what}: held {:.2} times the limit",
            ratio(peak)
        );
    });
}

#[allow(clippy::cast_precision_loss, reason = "only shown")]
fn ratio(bytes: usize) -> f64 {
    bytes as f64 / LIMIT as f64
}

#[test]
fn one_line_is_held_at_most_twice() {
    for begin in ["data: ", "event: ", "id: ", ": ", "unknown: "] {
        check_block(begin, |decoder| {
            feed_line(decoder, begin, b'x', LIMIT - begin.len())?;
            feed(decoder, b"\n").map(drop)
        });
    }
}

/// The decoder holds this block once. A buffer that grows doubles, but only up to the limit.
fn check_held_once(what: &str, write: impl Fn(&mut Decoder) -> Result<(), EventTooLarge>) {
    alone(|| {
        let mut decoder = Decoder::new().max_event_bytes(LIMIT);
        let (peak, ..) = measure(|| write(&mut decoder).expect("no limit is hit"));
        assert!(
            peak <= LIMIT + SLACK,
            "{what}: held {:.2} times the limit",
            ratio(peak)
        );
    });
}

#[test]
fn a_line_is_held_once() {
    for begin in ["data: ", "event: ", "id: ", ": "] {
        check_held_once(begin, |decoder| {
            feed_line(decoder, begin, b'x', LIMIT - begin.len())?;
            feed(decoder, b"data\n\n").map(drop)
        });
    }
}

#[test]
fn lines_of_data_are_held_once() {
    check_held_once("two lines", |decoder| {
        feed_line(decoder, "data: ", b'x', LIMIT / 2)?;
        feed_line(decoder, "data: ", b'x', LIMIT / 2 - "data: ".len())?;
        feed(decoder, b"\n").map(drop)
    });
    check_held_once("many lines", |decoder| {
        for _ in 0..LIMIT / KIB - 1 {
            feed_line(decoder, "data: ", b'x', KIB - 1)?;
        }
        feed(decoder, b"\n").map(drop)
    });
}

#[test]
fn an_event_below_the_limit_is_held_at_most_twice() {
    alone(|| {
        for size in [MIB + 1, 3 * MIB, 4 * MIB + 1] {
            let mut decoder = Decoder::new();
            let (peak, ..) = measure(|| {
                feed_line(&mut decoder, "data: ", b'x', size).unwrap();
                feed(&mut decoder, b"\n").unwrap();
            });
            assert!(peak <= 2 * size + SLACK, "{peak} for {size}");
        }
    });
}

#[test]
fn an_unknown_line_is_never_held() {
    alone(|| {
        let mut decoder = Decoder::new();
        let (peak, ..) = measure(|| {
            feed_line(&mut decoder, "unknown: ", b'x', 10 * MIB).unwrap();
            feed_line(&mut decoder, "", b'x', 10 * MIB).unwrap();
        });
        assert!(peak <= CHUNK, "{peak}");
    });
}

#[test]
fn many_lines_are_held_at_most_twice() {
    check_block("data: lines", |decoder| {
        for _ in 0..LIMIT / KIB - 1 {
            feed_line(decoder, "data: ", b'x', KIB - 1)?;
        }
        feed(decoder, b"\n").map(drop)
    });
}

#[test]
fn a_long_line_after_others_is_held_at_most_twice() {
    check_block("data, then a longer line", |decoder| {
        feed_line(decoder, "data: ", b'x', LIMIT / 3)?;
        feed_line(decoder, "data: ", b'x', LIMIT / 2)?;
        feed(decoder, b"\n").map(drop)
    });
}

#[test]
fn a_line_of_replacements_is_held_at_most_twice() {
    check_block("invalid bytes", |decoder| {
        feed_line(decoder, "data: ", 0xFF, (LIMIT - 6) / 3)?;
        feed(decoder, b"\n").map(drop)
    });
}

#[test]
fn replacements_over_the_limit_are_an_error_before_they_are_made() {
    alone(|| {
        let mut decoder = Decoder::new().max_event_bytes(LIMIT);
        let (peak, _, outcome) = measure(|| feed_line(&mut decoder, "", 0xFF, LIMIT));
        assert!(outcome.is_err());
        assert!(
            peak <= 2 * LIMIT + SLACK,
            "held {:.2} times the limit",
            ratio(peak)
        );
    });
}

#[test]
fn replaced_values_are_freed_before_new_ones_are_held() {
    check_block("a name, an id, then data", |decoder| {
        feed_line(decoder, "event: ", b'x', LIMIT - 7)?;
        feed_line(decoder, "event: ", b'x', 0)?;
        feed_line(decoder, "id: ", b'x', LIMIT - 4)?;
        feed_line(decoder, "id: ", b'x', 0)?;
        feed_line(decoder, "data: ", b'x', LIMIT - 6)?;
        feed(decoder, b"\n").map(drop)
    });
}

/// Three blocks with the longest ID. The decoder holds one of them beside the next block.
fn check_ids(how: &str, take: impl Fn(&mut Decoder, &[u8])) {
    alone(|| {
        let mut decoder = Decoder::new().max_event_bytes(LIMIT);
        let (peak, ..) = measure(|| {
            for _ in 0..3 {
                feed_line(&mut decoder, "id: ", b'x', LIMIT - 4).expect("it is at the limit");
                take(&mut decoder, b"\ndata\n\n");
            }
        });
        assert!(
            peak <= 3 * LIMIT + SLACK,
            "{how}: held {:.2} times the limit",
            ratio(peak)
        );
    });
}

#[test]
fn the_last_event_id_of_borrowed_events_is_held_once() {
    check_ids("borrowed", |decoder, chunk| {
        assert_eq!(feed(decoder, chunk), Ok(1));
    });
}

#[test]
fn the_last_event_id_of_owned_events_is_held_once() {
    check_ids("owned", |decoder, chunk| {
        assert_eq!(decoder.decode(chunk).count(), 1);
    });
}

/// After this large block and a small event, the decoder holds almost nothing.
fn check_shrinks(what: &str, write: impl FnOnce(&mut Decoder) -> Result<(), EventTooLarge>) {
    alone(|| {
        let mut decoder = Decoder::new();
        let (peak, left, ()) = measure(|| {
            write(&mut decoder).expect("no limit is hit");
            feed(&mut decoder, b"event: e\nid: 1\ndata: small\n\n").expect("it is small");
        });
        assert!(peak > 10 * MIB, "{what}: held only {peak}");
        assert!(left <= SLACK, "{what}: still holds {left}");
    });
}

#[test]
fn the_memory_of_a_large_event_is_freed_with_the_next() {
    for begin in ["data: ", "event: ", "id: ", ": "] {
        check_shrinks(begin, |decoder| {
            feed_line(decoder, begin, b'x', 10 * MIB)?;
            feed(decoder, b"\ndata\n\n").map(drop)
        });
    }
}

#[test]
fn the_memory_of_a_replaced_value_is_freed() {
    for (begin, next) in [
        ("event: ", "event: b\n\n"),
        ("id: ", "id: b\n\n"),
        ("id: ", "id: b"),
    ] {
        check_shrinks(&format!("{begin:?}, then {next:?}"), |decoder| {
            feed_line(decoder, begin, b'x', 10 * MIB)?;
            feed(decoder, next.as_bytes())?;
            feed(decoder, b"\n\n").map(drop)
        });
    }
}

#[test]
fn a_large_owned_event_takes_its_memory_from_the_decoder() {
    alone(|| {
        let mut decoder = Decoder::new();
        let (_, left, event) = measure(|| {
            feed_line(&mut decoder, "data: ", b'x', 6 * MIB).unwrap();
            feed_line(&mut decoder, "data: ", b'x', 4 * MIB).unwrap();
            decoder.decode(b"\n").next().unwrap().unwrap()
        });
        let data = event.data.unwrap();
        assert_eq!(data.len(), 10 * MIB + "\n".len());
        assert!(left <= data.len() + SLACK, "{left}");
    });
}

#[test]
fn a_small_event_does_not_keep_its_chunk() {
    alone(|| {
        let mut decoder = Decoder::new();
        let (_, left, event) = measure(|| {
            let chunk: Vec<u8> = iter::repeat_n(b":\n", MIB).flatten().copied().collect();
            let chunk = [b"data: small\n\n", chunk.as_slice()].concat();
            decoder.decode(&chunk).next().unwrap().unwrap()
        });
        assert_eq!(event.text(), "small");
        assert!(left <= SLACK, "{left}");
    });
}

#[test]
fn leaking_an_iterator_loses_only_its_chunk() {
    let mut decoder = Decoder::new();
    let mut events = decoder.decode(b"event: a\ndata: b\n\ndata: c\n\nid: 1\n\n");
    assert_eq!(events.try_next_ref().unwrap().unwrap().text(), "b");
    std::mem::forget(events);
    let events: Vec<_> = decoder.decode("data: é\n\n".as_bytes()).collect();
    assert_eq!(events.len(), 1);
    let event = events[0].as_ref().unwrap();
    assert_eq!((event.event_type(), event.text()), ("message", "é"));
}

#[test]
fn a_skipped_event_of_any_size_is_held_at_most_twice_the_limit() {
    for line in ["data: ", "id: ", "unknown: ", ": "] {
        alone(|| {
            let mut decoder = Decoder::new()
                .max_event_bytes(LIMIT)
                .skip_large_events(true);
            let (peak, left, error) = measure(|| {
                // The longest ID, and one more below.
                feed_line(&mut decoder, "id: ", b'x', LIMIT - 4).unwrap();
                feed_line(&mut decoder, "data: ", b'x', LIMIT / 2).unwrap();
                for _ in 0..2 {
                    feed_line(&mut decoder, line, b'x', GIB / 4).unwrap();
                    feed_line(&mut decoder, "data: ", b'x', LIMIT - 6).unwrap();
                }
                feed_line(&mut decoder, "id: ", b'y', LIMIT - 4).unwrap();
                feed_line(&mut decoder, "id: ", b'z', 1).unwrap();
                feed(&mut decoder, b"\n").unwrap_err()
            });
            assert!(
                peak <= 2 * LIMIT + SLACK,
                "{line:?}: held {:.2} times the limit",
                ratio(peak)
            );
            assert!(left <= SLACK, "{line:?}: still holds {left}");
            assert_eq!(error.last_event_id().unwrap(), "z");
            assert!(error.size() > GIB / 2);
            assert_eq!(feed(&mut decoder, b"data\n\n"), Ok(1));
        });
    }
}
