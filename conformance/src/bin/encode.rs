//! `encode CASES.json`: prints the bytes of each case's events, one after the other.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use tidings::{EncodedEvents, Event, EventId, EventName};
use tidings_conformance::{BoxError, answer_each};

#[derive(Deserialize)]
struct Case {
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    event: Option<String>,
    data: Option<String>,
    id: Option<String>,
    retry: Option<u64>,
    comment: Option<String>,
}

#[derive(Serialize)]
struct Encoded {
    bytes_base64: String,
}

fn main() -> Result<(), BoxError> {
    answer_each(|Case { items }| {
        let events: Vec<Event> = items.into_iter().map(event).collect::<Result<_, _>>()?;
        let encoded: EncodedEvents = events.iter().collect();
        Ok(Encoded {
            bytes_base64: BASE64_STANDARD.encode(encoded.bytes()),
        })
    })
}

fn event(item: Item) -> Result<Event, BoxError> {
    Ok(Event {
        data: item.data,
        event: item.event.map(EventName::new).transpose()?,
        id: item.id.map(EventId::new).transpose()?,
        retry: item.retry.map(Duration::from_millis),
        comments: item.comment,
    })
}
