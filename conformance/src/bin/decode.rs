//! `decode VECTORS.json`: prints the events that the decoder reads in each vector.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use tidings::proto::{Comments, Decoder};
use tidings::{Event, EventId};
use tidings_conformance::{BoxError, answer_each};

/// Above the default, because vectors have lines that no server should send.
const MAX_EVENT_BYTES: usize = 1 << 30;

#[derive(Deserialize)]
struct Vector {
    initial_last_event_id: Option<String>,
    chunks_base64: Vec<String>,
}

#[derive(Default, Serialize)]
struct Reading {
    events: Vec<EventJson>,
    comments: Vec<String>,
    events_after_chunk: Vec<usize>,
    final_last_event_id: String,
    final_retry_ms: Option<u128>,
}

#[derive(Serialize)]
struct EventJson {
    event: String,
    data: String,
    id: String,
}

fn main() -> Result<(), BoxError> {
    answer_each(read)
}

fn read(vector: Vector) -> Result<Reading, BoxError> {
    let mut decoder = Decoder::new()
        .comments(Comments::Immediate)
        .max_event_bytes(MAX_EVENT_BYTES);
    if let Some(id) = vector.initial_last_event_id.filter(|id| !id.is_empty()) {
        decoder.set_last_event_id(&EventId::new(id)?);
    }
    let mut reading = Reading::default();
    for chunk in vector.chunks_base64 {
        for event in decoder.decode(&BASE64_STANDARD.decode(chunk)?) {
            reading.add(event?);
        }
        reading.events_after_chunk.push(reading.events.len());
    }
    reading.final_last_event_id = decoder.last_event_id().unwrap_or_default().to_owned();
    reading.final_retry_ms = decoder.reconnection_time().map(|time| time.as_millis());
    Ok(reading)
}

impl Reading {
    fn add(&mut self, event: Event) {
        if let Some(comment) = event.comments {
            // The decoder removes the leading space, which vectors keep.
            self.comments.push(format!(" {comment}"));
            return;
        }
        self.events.push(EventJson {
            event: event.event_type().to_owned(),
            id: event.id.as_deref().unwrap_or_default().to_owned(),
            data: event.data.unwrap_or_default(),
        });
    }
}
