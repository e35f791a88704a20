//! The round trip: encoded events read back as they were sent.

use std::time::Duration;

use tidings_proto::{EncodedEvents, Event};

use crate::decoding::{Decoded, Options, bytewise, decode, decode_borrowed};

/// Asserts that a client that shows everything receives these events as they were sent.
///
/// # Panics
/// If the received events differ.
pub fn check(sent: &[Event]) {
    let encoded: EncodedEvents = sent.iter().collect();
    let expected = Decoded {
        events: received(sent),
        last_event_id: encoded.last_event_id().map(|id| id.as_str().to_owned()),
        reconnection_time: sent
            .iter()
            .filter_map(|event| event.retry)
            .map(whole_millis)
            .next_back(),
        too_large: false,
        skipped: Vec::new(),
    };
    let options = Options {
        max_event_bytes: usize::MAX,
        ..Options::show_all()
    };
    let bytes: &[u8] = encoded.bytes();
    assert_eq!(decode(&[bytes], &options), expected, "owned");
    assert_eq!(decode_borrowed(&[bytes], &options), expected, "borrowed");
    assert_eq!(decode(&bytewise(bytes), &options), expected, "byte by byte");

    let with_data = sent.iter().filter(|event| event.data.is_some());
    assert_eq!(encoded.count(), with_data.count(), "count");
    let one_by_one: String = sent.iter().map(Event::to_string).collect();
    assert_eq!(one_by_one.as_bytes(), bytes, "Display");
}

/// The events that a client that shows everything receives: each line end of a text as LF, times in
/// whole milliseconds, and the ID in effect. It does not receive an event that has only a name or
/// an ID.
#[must_use]
pub fn received(sent: &[Event]) -> Vec<Event> {
    let mut id = None;
    let mut received = Vec::new();
    for event in sent {
        if event.id.is_some() {
            id.clone_from(&event.id);
        }
        if event.data.is_some() || event.retry.is_some() || event.comments.is_some() {
            received.push(Event {
                data: event.data.as_deref().map(lf_only),
                event: event.event.clone(),
                id: id.clone(),
                retry: event.retry.map(whole_millis),
                comments: event.comments.as_deref().map(lf_only),
            });
        }
    }
    received
}

fn lf_only(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

fn whole_millis(time: Duration) -> Duration {
    Duration::from_millis(time.as_millis().try_into().unwrap_or(u64::MAX))
}
