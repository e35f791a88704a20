//! `decode` and `encode` as a judge runs them: a file of cases in, a line of JSON for each out.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tidings::proto::{Comments, Decoder};
use tidings::{Event, EventId, EventName};

const DECODE: &str = env!("CARGO_BIN_EXE_decode");
const ENCODE: &str = env!("CARGO_BIN_EXE_encode");

fn run(adapter: &str, cases: &Path) -> Vec<Value> {
    let output = Command::new(adapter)
        .arg(cases)
        .output()
        .expect("the adapter starts");
    assert!(output.status.success(), "{output:?}");
    output
        .stdout
        .split_inclusive(|&byte| byte == b'\n')
        .map(|line| serde_json::from_slice(line).expect("a line of JSON"))
        .collect()
}

/// Runs an adapter over cases in a file of this test's own.
fn run_on(adapter: &str, test: &str, cases: &Value) -> Vec<Value> {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}.json"));
    fs::write(&path, cases.to_string()).expect("a file for the cases");
    run(adapter, &path)
}

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/proto/tests/wpt.json")
}

#[test]
fn each_vector_decodes_to_its_expected_events() {
    let expected: Vec<Value> = serde_json::from_slice(&fs::read(vectors()).unwrap()).unwrap();
    let decoded = run(DECODE, &vectors());
    assert_eq!(decoded.len(), expected.len());
    for (decoded, expected) in decoded.iter().zip(&expected) {
        let name = &expected["name"];
        assert_eq!(decoded["name"], *name);
        assert_eq!(decoded["events"], expected["expected"], "{name}");
        for key in [
            "final_last_event_id",
            "final_retry_ms",
            "events_after_chunk",
        ] {
            assert_eq!(decoded[key], expected[key], "{name}: {key}");
        }
        let comments = decoded["comments"].as_array().unwrap();
        assert_eq!(
            comments.len(),
            expected["comments"].as_array().unwrap().len(),
            "{name}"
        );
    }
}

#[test]
fn a_bad_vector_does_not_stop_the_others() {
    let good = json!({
        "name": "good",
        "level": "must",
        "initial_last_event_id": "before",
        "chunks_base64": ["", BASE64_STANDARD.encode(": hi\ndata: a\n"), "", BASE64_STANDARD.encode("\n")],
    });
    let bad = json!({ "name": "bad", "chunks_base64": ["*"] });
    let decoded = run_on(DECODE, "bad_vectors", &json!([bad, 7, {}, good]));
    for refused in &decoded[..3] {
        assert!(refused["error"].is_string(), "{refused}");
    }
    let expected = json!({
        "name": "good",
        "events": [{ "event": "message", "data": "a", "id": "before" }],
        "comments": [" hi"],
        "events_after_chunk": [0, 0, 0, 1],
        "final_last_event_id": "before",
        "final_retry_ms": null,
    });
    assert_eq!(decoded[3], expected);
}

#[test]
fn a_line_over_the_default_limit_is_decoded() {
    let line = format!("data: {}\n\n", "x".repeat(20_000_000));
    let vector = json!([{ "name": "long", "chunks_base64": [BASE64_STANDARD.encode(line)] }]);
    let decoded = run_on(DECODE, "long_line", &vector);
    let data = decoded[0]["events"][0]["data"].as_str().unwrap();
    assert_eq!(data.len(), 20_000_000);
}

/// The events that a client that shows everything receives of these items.
fn encoded(test: &str, items: &Value) -> Vec<Event> {
    let answer = run_on(ENCODE, test, &json!([{ "name": test, "items": items }]));
    assert_eq!(answer[0]["name"], test);
    let bytes = answer[0]["bytes_base64"].as_str().expect("HERE");
    let mut decoder = Decoder::new()
        .comments(Comments::Shown)
        .show_retry_events(true);
    decoder
        .decode(&BASE64_STANDARD.decode(bytes).expect("HERE"))
        .collect::<Result<_, _>>()
        .expect("HERE")
}

#[test]
fn each_item_reads_back() {
    let items = json!([
        { "event": "note", "data": "a\nb", "id": "1", "retry": 250, "comment": "c\nd" },
        { "data": "", "event": null, "id": null, "retry": null, "comment": null },
        { "comment": "" },
        { "data": "…\0" },
        { "id": "", "data": " x", "unknown": 1 },
        {},
    ]);
    let events = encoded("each_item", &items);
    let note = Event::new("a\nb")
        .event(EventName::from_static("note"))
        .id(1)
        .retry(Duration::from_millis(250));
    let expected = [
        Event {
            comments: Some("c\nd".into()),
            ..note
        },
        Event::new("").id(1),
        Event::comment("").id(1),
        Event::new("…\0").id(1),
        Event::new(" x").id(EventId::EMPTY),
    ];
    assert_eq!(events, expected);
}

#[test]
fn every_line_end_begins_a_line() {
    for end in ["\n", "\r", "\r\n"] {
        let items = json!([{ "data": format!("{end}a{end}{end}id: 2{end}"), "comment": format!("a{end}b") }]);
        let expected = Event {
            comments: Some("a\nb".into()),
            ..Event::new("\na\n\nid: 2\n")
        };
        assert_eq!(encoded("line_ends", &items), [expected], "{end:?}");
    }
}

#[test]
fn a_value_that_no_line_can_carry_is_refused_and_the_next_case_encoded() {
    let refused = [
        json!([{ "data": "a", "id": "a\0b" }]),
        json!([{ "data": "a", "id": "a\rb" }]),
        json!([{ "data": "a", "id": "a\nb" }]),
        json!([{ "data": "a", "event": "a\rb" }]),
        json!([{ "data": "a", "event": "a\nb" }]),
        json!([{ "retry": -1 }]),
        json!([{ "retry": 1.5 }]),
        json!([{ "retry": 1000.0 }]),
        json!([{ "retry": "1000" }]),
        json!([{ "retry": 1e30 }]),
        json!([{ "data": 1 }]),
        json!([{ "data": "first" }, { "id": "\n" }]),
        json!("no items"),
    ];
    let mut cases: Vec<Value> = refused
        .iter()
        .map(|items| json!({ "name": items, "items": items }))
        .collect();
    cases.push(json!({ "name": "good", "items": [{ "data": "a" }] }));

    let answers = run_on(ENCODE, "refused", &Value::Array(cases));
    for (items, answer) in refused.iter().zip(&answers) {
        assert_eq!(answer["name"], *items);
        assert!(answer["error"].is_string(), "{answer}");
        assert!(answer.get("bytes_base64").is_none(), "{answer}");
    }
    let good = json!({ "name": "good", "bytes_base64": BASE64_STANDARD.encode("data: a\n\n") });
    assert_eq!(answers[refused.len()..], [good]);
}
