//! `POST /channels`.

use serde_json::{Value, json};
use tidings_testkit::temp_dir::TempDir;

use crate::process::Server;
use crate::raw::{Answer, request};
use crate::stream::{next, open, texts};

const NDJSON: &str = "Content-Type: application/x-ndjson";

fn send(server: &Server, body: impl AsRef<[u8]>) -> Answer {
    request(server.address(), "POST", "/channels", &[NDJSON], body)
}

fn lines(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    let lines = answer.body.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().unwrap()
}

#[tokio::test]
async fn each_line_is_published_in_order_and_answered() {
    let server = Server::start(&[]);
    let mut session = open(&server, "/events?channel=a&channel=b").await;
    let body = concat!(
        r#"{"channel":"a","data":"one","event":"first","retry":3000,"key":"k"}"#,
        "\r\n\n  \n",
        r#"{"channel":"b","data":{ "z": 1.50, "a": [null, "x y"] }}"#,
        "\n",
        r#"{"channel":"a","data":"again","key":"k"}"#,
        "\n",
        r#"{"channel":"a","data":12345678901234567890123}"#,
    );
    let answer = send(&server, body);
    let answers = lines(&answer);
    assert_eq!(answers.len(), 4, "{answer:?}");
    let mut ids = Vec::new();
    for (text, name) in [
        ("one", "first"),
        (r#"{"z":1.50,"a":[null,"x y"]}"#, "message"),
        ("12345678901234567890123", "message"),
    ] {
        let event = next(&mut session).await;
        assert_eq!((event.text(), event.event_type()), (text, name));
        ids.push(event.id.unwrap());
    }
    let id = |n: usize| answers[n]["id"].as_str().unwrap();
    assert_eq!(format!("{}.a", id(0)), *ids[0]);
    assert_eq!(format!("{}.b", id(1)), *ids[1]);
    assert_eq!(answers[2], json!({ "id": id(0), "repeat": true }));
    assert_eq!(format!("{}.a", id(3)), *ids[2]);
}

#[test]
fn the_first_batch_of_a_store_keeps_its_order() {
    let folder = TempDir::new();
    let store = folder.join("events.db");
    let server = Server::start(&["--store", store.to_str().unwrap()]);
    let body: String = (0..100)
        .map(|n| format!("{{\"channel\":\"a\",\"data\":\"{n}\"}}\n"))
        .collect();
    let answers = lines(&send(&server, body));
    let seqs: Vec<u64> = answers
        .iter()
        .map(|answer| {
            let id = answer["id"].as_str().unwrap();
            id.split('.').nth(1).unwrap().parse().unwrap()
        })
        .collect();
    assert_eq!(seqs, (1..=100).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_bad_line_does_not_stop_the_others() {
    let server = Server::start(&[]);
    let mut session = open(&server, "/channels/a").await;
    let good = r#"{"channel":"a","data":"x"}"#;
    let bad: [(&[u8], u16, &str); 11] = [
        (b"nonsense", 400, "invalid-line"),
        (b"[]", 400, "invalid-line"),
        (br#"{"channel":"a"}"#, 400, "invalid-line"),
        (br#"{"data":"x"}"#, 400, "invalid-line"),
        (br#"{"channel":"a","data":"x"} {}"#, 400, "invalid-line"),
        (
            br#"{"channel":"a","data":"x","kye":"k"}"#,
            400,
            "invalid-line",
        ),
        (
            b"{\"channel\":\"a\",\"data\":\"\xff\"}",
            400,
            "invalid-line",
        ),
        (br#"{"channel":"a/../b","data":"x"}"#, 400, "invalid-name"),
        (
            br#"{"channel":"a","data":"x","key":""}"#,
            400,
            "invalid-key",
        ),
        (
            br#"{"channel":"a","data":"x","event":"gap"}"#,
            400,
            "reserved-name",
        ),
        (
            br#"{"channel":"a","data":"x","event":"a\nb"}"#,
            400,
            "invalid-event",
        ),
    ];
    let mut body = Vec::new();
    for (line, ..) in bad {
        body.extend_from_slice(line);
        body.push(b'\n');
        body.extend_from_slice(good.as_bytes());
        body.push(b'\n');
    }
    let answer = send(&server, body);
    let answers = lines(&answer);
    assert_eq!(answers.len(), 2 * bad.len());
    for ((line, status, code), answers) in bad.iter().zip(answers.chunks(2)) {
        let line = String::from_utf8_lossy(line);
        assert_eq!(answers[0]["status"], *status, "{line}: {answers:?}");
        assert_eq!(answers[0]["code"], *code, "{line}: {answers:?}");
        assert!(answers[1]["id"].is_string(), "{line}: {answers:?}");
    }
    assert_eq!(texts(&mut session, bad.len()).await, vec!["x"; bad.len()]);
}

#[tokio::test]
async fn a_long_batch_keeps_its_order() {
    let server = Server::start(&[]);
    let line = |n| format!("{{\"channel\":\"a\",\"data\":{n}}}\n");
    let body: String = (0..5_000).map(line).collect();
    let answer = send(&server, body);
    assert_eq!(lines(&answer).len(), 5_000);
    let mut session = open(&server, "/channels/a?from=earliest").await;
    let expected: Vec<_> = (0..5_000).map(|n| n.to_string()).collect();
    assert_eq!(texts(&mut session, 5_000).await, expected);
}

#[test]
fn a_batch_is_refused_as_a_whole_only_for_its_type_or_its_size() {
    let server = Server::start(&["--max-body", "64KiB"]);
    let line = r#"{"channel":"a","data":"x"}"#;
    for kind in [
        "text/plain",
        "application/json",
        "application/x-www-form-urlencoded",
    ] {
        let kind = format!("Content-Type: {kind}");
        let answer = request(server.address(), "POST", "/channels", &[&kind], line);
        answer.assert_problem(415, "unsupported-media-type");
    }
    let answer = request(server.address(), "POST", "/channels", &[], line);
    answer.assert_problem(415, "unsupported-media-type");
    send(&server, "x".repeat(64 * 1024 + 1)).assert_problem(413, "too-large");
    send(&server, "x\n".repeat(10_001)).assert_problem(413, "too-large");
    for kind in ["application/jsonl; charset=utf-8", "Application/X-NDJSON"] {
        let kind = format!("Content-Type: {kind}");
        let answer = request(server.address(), "POST", "/channels", &[&kind], line);
        assert_eq!(lines(&answer).len(), 1);
    }
    assert_eq!(lines(&send(&server, "\n\n")), [0; 0]);
}

#[test]
fn a_batch_over_the_retention_is_confirmed_line_by_line() {
    let folder = TempDir::new();
    let store = folder.join("events.db");
    let data = "x".repeat(500);
    let body: String = (0..1_500)
        .map(|_| format!("{{\"channel\":\"a\",\"data\":\"{data}\"}}\n"))
        .collect();
    for (retained, flags) in [
        ("0", &[][..]),
        ("100", &[]),
        ("16KiB", &[]),
        (
            "16KiB",
            &["--durability=buffered", "--store", store.to_str().unwrap()],
        ),
    ] {
        let flags = [&["--retain-bytes", retained][..], flags].concat();
        let server = Server::start(&flags);
        let answers = lines(&send(&server, &body));
        let seqs = answers.iter().map(|answer| {
            let id = answer["id"].as_str();
            let id = id.unwrap_or_else(|| panic!("{flags:?}: {answer}"));
            id.split('.').nth(1).unwrap().parse::<u64>().unwrap()
        });
        assert!(seqs.eq(1..=1_500), "{flags:?}");
    }
}
