//! `POST /channels/{name}`.

use std::io::{BufReader, Write};

use serde_json::json;
use tidings::EventId;

use crate::process::Server;
use crate::raw::{connect, post, read, request};
use crate::stream::{next, open, texts};

#[tokio::test]
async fn a_body_is_published_and_its_answer_is_the_id_that_subscribers_see() {
    let server = Server::start(&[]);
    let mut session = open(&server, "/channels/news").await;
    let published = post(server.address(), "/channels/news", "hello");
    assert_eq!(published.status, 201, "{published:?}");
    assert_eq!(published.header("content-type"), Some("application/json"));
    let event = next(&mut session).await;
    assert_eq!(event.text(), "hello");
    let id = event.id.as_ref().map(EventId::as_str);
    assert_eq!(published.json(), json!({ "id": id }));
}

#[tokio::test]
async fn the_event_has_the_name_and_the_time_of_the_query_or_else_of_the_headers() {
    let server = Server::start(&[]);
    let mut session = open(&server, "/channels/news").await;
    let lines = ["Event-Name: größe", "Event-Retry: 2000"];
    for target in [
        "/channels/news",
        "/channels/news?event=a+b&retry=1500",
        "/channels/news?event=",
    ] {
        assert_eq!(
            request(server.address(), "POST", target, &lines, "x").status,
            201
        );
    }
    let mut types = Vec::new();
    for _ in 0..3 {
        types.push(next(&mut session).await.event_type().to_owned());
    }
    assert_eq!(types, ["größe", "a b", "message"]);
}

#[tokio::test]
async fn data_of_several_lines_and_no_data_at_all_arrive() {
    let server = Server::start(&[]);
    let mut session = open(&server, "/channels/news").await;
    for body in ["one\ntwo\n\nthree", "", "…"] {
        assert_eq!(post(server.address(), "/channels/news", body).status, 201);
    }
    let received = texts(&mut session, 3).await;
    assert_eq!(received, ["one\ntwo\n\nthree", "", "…"]);
}

#[tokio::test]
async fn a_repeat_of_a_key_is_answered_with_the_first_id() {
    let server = Server::start(&[]);
    let mut session = open(&server, "/channels/news").await;
    let with_key = |channel: &str, line: &str| {
        let target = format!("/channels/{channel}");
        request(server.address(), "POST", &target, &[line], "x")
    };
    let first = with_key("news", "Idempotency-Key: \"order-17\"");
    assert_eq!(first.status, 201);
    for line in ["Idempotency-Key: \"order-17\"", "idempotency-key: order-17"] {
        let repeat = with_key("news", line);
        assert_eq!(repeat.status, 200);
        assert_eq!(repeat.json(), first.json());
    }
    let other = with_key("other", "Idempotency-Key: order-17");
    assert_eq!(other.status, 201);
    post(server.address(), "/channels/news", "y");
    assert_eq!(texts(&mut session, 2).await, ["x", "y"]);
}

#[test]
fn publications_on_one_connection_are_stored_in_order() {
    let server = Server::start(&[]);
    let mut stream = connect(server.address());
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    let mut last = 0;
    for n in 0..20 {
        let body = "x".repeat(n * 1_000);
        let head = format!(
            "POST /channels/news HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n{body}",
            server.address(),
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        let answer = read(&mut answers);
        assert_eq!(answer.status, 201);
        let id = answer.json()["id"].as_str().unwrap().to_owned();
        let seq: u64 = id.split('.').nth(1).unwrap().parse().unwrap();
        assert!(seq > last);
        last = seq;
    }
}

#[tokio::test]
async fn a_slash_in_a_name_may_be_escaped() {
    let server = Server::start(&[]);
    let mut session = open(&server, "/channels/rooms%2F7").await;
    for target in [
        "/channels/rooms/7",
        "/channels/rooms%2f7",
        "/channels/%72ooms/7",
    ] {
        assert_eq!(post(server.address(), target, target).status, 201);
    }
    assert_eq!(
        texts(&mut session, 3).await,
        [
            "/channels/rooms/7",
            "/channels/rooms%2f7",
            "/channels/%72ooms/7"
        ]
    );
}

#[test]
fn each_wrong_publication_is_a_problem() {
    let server = Server::start(&["--max-body", "1KiB"]);
    let address = server.address();
    let check = |target: &str, lines: &[&str], body: &[u8], status, code| {
        request(address, "POST", target, lines, body).assert_problem(status, code);
    };
    let long_key = format!("Idempotency-Key: {}", "k".repeat(256));
    check("/channels/a", &[], b"\xff", 400, "invalid-body");
    check("/channels/a?event=gap", &[], b"x", 400, "reserved-name");
    check(
        "/channels/a",
        &["Event-Name: closed"],
        b"x",
        400,
        "reserved-name",
    );
    check("/channels/a?event=a%0Ab", &[], b"x", 400, "invalid-event");
    check("/channels/a?retry=soon", &[], b"x", 400, "invalid-event");
    check(
        "/channels/a",
        &["Event-Retry: -1"],
        b"x",
        400,
        "invalid-event",
    );
    check("/channels/a", &[&long_key], b"x", 400, "invalid-key");
    check(
        "/channels/a",
        &["Idempotency-Key:"],
        b"x",
        400,
        "invalid-key",
    );
    check(
        "/channels/a",
        &["Idempotency-Key: \"a"],
        b"x",
        400,
        "invalid-key",
    );
    let gzip = ["Content-Encoding: gzip"];
    check("/channels/a", &gzip, b"x", 415, "unsupported-media-type");
    check("/channels/a", &[], &[b'x'; 1_025], 413, "too-large");
    assert_eq!(
        request(address, "DELETE", "/channels/a", &[], "").status,
        404
    );
}

#[test]
fn an_event_after_the_end_is_a_conflict() {
    let server = Server::start(&[]);
    assert_eq!(post(server.address(), "/channels/a", "x").status, 201);
    let end = request(server.address(), "DELETE", "/channels/a", &[], "");
    assert_eq!(end.status, 200, "{end:?}");
    let late = post(server.address(), "/channels/a", "y");
    late.assert_problem(409, "channel-ended");
}

#[tokio::test]
async fn each_body_up_to_the_limit_is_accepted_however_short_its_lines() {
    let server = Server::start(&["--max-body", "10000"]);
    let address = server.address();
    let mut session = open(&server, "/channels/a").await;
    let line = "x".repeat(10_000);
    let bodies = [
        &line,
        &"\n".repeat(10_000),
        &"\r".repeat(10_000),
        &"x\n".repeat(5_000),
    ];
    // As long as the head of a request may be.
    let long_type = "t".repeat(30_000);
    for body in bodies {
        for query in ["", &format!("?event={long_type}")] {
            let answer = post(address, &format!("/channels/a{query}"), body);
            assert_eq!(answer.status, 201, "{answer:?}");
            let event = next(&mut session).await;
            assert_eq!(event.text(), body.replace('\r', "\n"));
        }
        let over = format!("{body}\n");
        post(address, "/channels/a", over).assert_problem(413, "too-large");
    }
    // Within a batch, each line feed takes two bytes.
    let text = serde_json::to_string(&"\n".repeat(4_980)).unwrap();
    let line = format!("{{\"channel\":\"a\",\"data\":{text}}}");
    let kind = ["Content-Type: application/x-ndjson"];
    let answer = request(address, "POST", "/channels", &kind, line);
    assert!(answer.json()["id"].is_string(), "{answer:?}");
}

#[test]
fn a_body_of_line_feeds_has_the_default_limit_too() {
    let server = Server::start(&[]);
    let body = "\n".repeat(1 << 20);
    assert_eq!(post(server.address(), "/channels/a", body).status, 201);
}
