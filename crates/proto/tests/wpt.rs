//! The wire-format cases of web-platform-tests' `eventsource/`, as data in `wpt.json`.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use tidings_proto::{Comments, EventId};
use tidings_testkit::decoding::{Decoded, Options, check_every_cut, decode};

/// Each vector, with its chunks.
fn vectors() -> Vec<(Value, Vec<Vec<u8>>)> {
    let vectors: Vec<Value> = serde_json::from_str(include_str!("wpt.json")).expect("an array");
    assert!(!vectors.is_empty());
    vectors
        .into_iter()
        .map(|vector| {
            let chunks = texts(&vector["chunks_base64"])
                .into_iter()
                .map(|chunk| BASE64_STANDARD.decode(chunk).expect(chunk))
                .collect();
            (vector, chunks)
        })
        .collect()
}

fn texts(values: &Value) -> Vec<&str> {
    let values = values.as_array().expect("an array");
    values
        .iter()
        .map(|value| value.as_str().expect("a string"))
        .collect()
}

fn options(vector: &Value) -> Options {
    let id = vector["initial_last_event_id"].as_str().expect("an id");
    Options {
        comments: Comments::Immediate,
        last_event_id: (!id.is_empty()).then(|| EventId::new(id).expect(id)),
        ..Options::default()
    }
}

/// The decoded events match the expectations of the vector.
fn check(vector: &Value, decoded: &Decoded) {
    let name = &vector["name"];
    let (comments, events): (Vec<_>, Vec<_>) = decoded
        .events
        .iter()
        .partition(|event| event.data.is_none());

    let events: Vec<Value> = events
        .iter()
        .map(|event| {
            serde_json::json!({
                "event": event.event_type(),
                "data": event.text(),
                "id": event.id.as_deref().unwrap_or_default(),
            })
        })
        .collect();
    assert_eq!(Value::Array(events), vector["expected"], "{name}");

    let comments: Vec<&str> = comments
        .iter()
        .filter_map(|event| event.comments.as_deref())
        .collect();
    let expected_comments: Vec<&str> = texts(&vector["comments"])
        .into_iter()
        .map(|comment| comment.strip_prefix(' ').unwrap_or(comment))
        .collect();
    assert_eq!(comments, expected_comments, "{name}");

    let id = decoded.last_event_id.as_deref().unwrap_or_default();
    assert_eq!(id, vector["final_last_event_id"], "{name}");
    let retry = vector["final_retry_ms"].as_u64();
    assert_eq!(
        decoded.reconnection_time,
        retry.map(Duration::from_millis),
        "{name}"
    );
}

#[test]
fn each_vector_decodes_as_it_specifies() {
    for (vector, chunks) in vectors() {
        let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
        check(&vector, &decode(&chunks, &options(&vector)));
        check(&vector, &decode(&[&chunks.concat()], &options(&vector)));
    }
}

#[test]
fn each_vector_decodes_as_by_the_oracle_at_any_cut() {
    for (vector, chunks) in vectors() {
        check_every_cut(&chunks.concat(), &options(&vector));
    }
}

#[test]
fn each_event_is_returned_with_its_last_chunk() {
    for (vector, chunks) in vectors() {
        let mut decoder = options(&vector).decoder().comments(Comments::Skipped);
        let mut count = 0;
        let counts: Vec<usize> = chunks
            .iter()
            .map(|chunk| {
                count += decoder.decode(chunk).count();
                count
            })
            .collect();
        assert_eq!(
            serde_json::json!(counts),
            vector["events_after_chunk"],
            "{}",
            vector["name"]
        );
    }
}
