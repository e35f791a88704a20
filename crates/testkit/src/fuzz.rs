//! Owns the fuzz targets: how bytes become a case, and what must hold for it.

use std::time::Duration;

use tidings_proto::{Comments, Event, EventId, EventName, MAX_EVENT_BYTES};

use crate::decoding::{Options, bytewise, check, cut};
use crate::round_trip;

/// One byte of options, then a stream: it reads as the oracle reads it.
///
/// # Panics
/// If it does not.
pub fn decode(input: &[u8]) {
    if let Some((&options, stream)) = input.split_first() {
        check(&[stream], &options_of(options));
    }
}

/// One byte of options, one that says how many bytes of chunk lengths follow, these, then a
/// stream: no cut changes what is read.
///
/// # Panics
/// If one does.
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

/// Fields that end at 0xFF, which no text holds, of a byte for the kind and a value: the events
/// they make are heard as they were sent.
///
/// # Panics
/// If they are not.
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

/// Bits 0 and 1 are what becomes of comments, bit 2 shows retry events, bit 3 sets an id before
/// the stream, and the high half is a limit: 0 for the default, then 8, 16, 32 … bytes.
fn options_of(bits: u8) -> Options {
    Options {
        comments: match bits & 0b11 {
            0 => Comments::Skip,
            1 => Comments::Keep,
            2 => Comments::Show,
            _ => Comments::AtOnce,
        },
        show_retry_events: bits & 0b100 != 0,
        last_event_id: (bits & 0b1000 != 0).then_some(EventId::from_static("before")),
        max_event_bytes: match bits >> 4 {
            0 => MAX_EVENT_BYTES,
            shift => 4 << shift,
        },
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
