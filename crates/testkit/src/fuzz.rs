//! The bodies of the fuzz targets: how bytes become a case, and the property of each case.

use std::time::Duration;

use tidings_proto::{Comments, Event, EventId, EventName, MAX_EVENT_BYTES};

use crate::decoding::{Options, bytewise, check, cut};
use crate::round_trip;

/// The decoder reads each stream as the oracle does. Input: one byte of options, then the stream.
///
/// # Panics
/// If the two differ.
pub fn decode(input: &[u8]) {
    if let Some((&options, stream)) = input.split_first() {
        check(&[stream], &options_of(options));
    }
}

/// No cut changes the events of a stream. Input: one byte of options, one byte with the number of
/// chunk lengths, one byte for each length, then the stream.
///
/// # Panics
/// If a cut changes the events.
pub fn chunked(input: &[u8]) {
    let [options, cuts, rest @ ..] = input else {
        return;
    };
    let Some((lengths, stream)) = rest.split_at_checked(usize::from(*cuts)) else {
        return;
    };
    let options = options_of(*options);
    let lengths = lengths.iter().copied().map(usize::from);
    check(&cut(stream, lengths), &options);
    check(&bytewise(stream), &options);
}

/// Encoded events read back as they were sent. Input: fields separated by 0xFF, which no text
/// contains; each is one byte for the kind, then the value.
///
/// # Panics
/// If the events differ.
pub fn round_trip(input: &[u8]) {
    let mut events = vec![Event::default()];
    for field in input.split(|&byte| byte == 0xFF) {
        let Some((kind, value)) = field.split_first() else {
            continue;
        };
        if *kind == b'.' {
            events.push(Event::default());
        } else if let Some(event) = events.last_mut() {
            set_field(event, *kind, value);
        }
    }
    round_trip::check(&events);
}

/// Bits 0 and 1 select the handling of comments. Bit 2 shows retry events. Bit 3 sets an ID before
/// the stream. Bits 4 to 6 select the limit: 0 for the default, then 8, 16, 32 … bytes. Bit 7 skips events
/// over it.
fn options_of(bits: u8) -> Options {
    Options {
        comments: match bits & 0b11 {
            0 => Comments::Skipped,
            1 => Comments::Attached,
            2 => Comments::Shown,
            _ => Comments::Immediate,
        },
        show_retry_events: bits & 0b100 != 0,
        last_event_id: (bits & 0b1000 != 0).then_some(EventId::from_static("before")),
        max_event_bytes: match bits >> 4 & 0b111 {
            0 => MAX_EVENT_BYTES,
            shift => 4 << shift,
        },
        skip_large_events: bits & 0b1000_0000 != 0,
    }
}

fn set_field(event: &mut Event, kind: u8, value: &[u8]) {
    let text = String::from_utf8_lossy(value);
    match kind {
        b'd' => event.data = Some(text.into_owned()),
        b'c' => event.comments = Some(text.into_owned()),
        b'e' => event.event = EventName::new(text).ok(),
        b'i' => event.id = EventId::new(text).ok(),
        b'r' => event.retry = Some(Duration::from_micros(big_endian(value))),
        _ => {}
    }
}

fn big_endian(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |number, &byte| number << 8 | u64::from(byte))
}
