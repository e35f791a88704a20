//! Owns what encoding keeps: the law that what is encoded reads back.

use std::time::Duration;

use tidings_proto::{EncodedEvents, Event};

use crate::decoding::{Decoded, Options, bytewise, decode, decode_borrowed};

/// Asserts that a client which is shown everything hears what was sent.
///
/// # Panics
/// If it hears anything else.
pub fn check(sent: &[Event]) {
    let encoded: EncodedEvents = sent.iter().collect();
    let expected = Decoded {
        events: heard(sent),
        last_event_id: encoded.last_event_id().map(|id| id.as_str().to_owned()),
        reconnection_time: sent
            .iter()
            .filter_map(|event| event.retry)
            .map(whole_millis)
            .next_back(),
        too_large: false,
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

/// What a client which is shown everything hears of these events: each line end of a text as LF,
/// whole milliseconds, and the id in effect. An event of only a name or an id is not heard.
#[must_use]
pub fn heard(sent: &[Event]) -> Vec<Event> {
    let mut id = None;
    let mut heard = Vec::new();
    for event in sent {
        if event.id.is_some() {
            id.clone_from(&event.id);
        }
        if event.data.is_some() || event.retry.is_some() || event.comments.is_some() {
            heard.push(Event {
                data: event.data.as_deref().map(lf_only),
                event: event.event.clone(),
                id: id.clone(),
                retry: event.retry.map(whole_millis),
                comments: event.comments.as_deref().map(lf_only),
            });
        }
    }
    heard
}

fn lf_only(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

fn whole_millis(time: Duration) -> Duration {
    Duration::from_millis(time.as_millis().try_into().unwrap_or(u64::MAX))
}
