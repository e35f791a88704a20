//! Lost connections, and restarts.

use serde_json::json;

use super::{Service, Stream, event};
use crate::server::Connection;

/// A stream whose connections follow one another without a wait.
async fn open(service: &Service) -> (Stream, Connection) {
    let stream = service.stream(json!({ "initialDelayMs": 0 })).await;
    let connection = stream.server.open().await;
    (stream, connection)
}

#[tokio::test]
async fn a_restart_connects_again_and_is_no_error() {
    let service = Service::start().await;
    let (mut stream, mut first) = open(&service).await;
    first
        .send("id: 1\ndata: Hello\n\nid: 2\ndata: unfinished")
        .await;
    stream.expect_event("Hello", "1").await;

    let restarted = service
        .call("POST", &stream.path, r#"{"command":"restart"}"#)
        .await;
    assert!((200..300).contains(&restarted.status), "{restarted:?}");
    first.expect_closed().await;
    let mut second = stream.server.open().await;
    assert_eq!(second.request.target, "/stream?a=b");
    assert_eq!(second.request.header("last-event-id"), ["1"]);
    second.send("data: Thanks\n\n").await;
    stream.expect_event("Thanks", "1").await;

    // A restart also works while the stream connects.
    service
        .call("POST", &stream.path, r#"{"command":"restart"}"#)
        .await;
    let third = stream.server.accept().await;
    service
        .call("POST", &stream.path, r#"{"command":"restart"}"#)
        .await;
    let mut fourth = stream.server.open().await;
    assert_eq!(fourth.request.header("last-event-id"), ["1"]);
    drop(third);
    fourth.send("data: Bye\n\n").await;
    stream.expect_event("Bye", "1").await;
}

#[tokio::test]
async fn a_reconnection_resumes_after_the_last_id() {
    let service = Service::start().await;
    for (text, events, id) in [
        (
            "id: abc\ndata: Hello\n\n",
            &[("Hello", "abc")][..],
            &["abc"][..],
        ),
        (
            "id: abc\ndata: Hello\n\ndata: World\n\n",
            &[("Hello", "abc"), ("World", "abc")],
            &["abc"],
        ),
        (
            "id: abc\ndata: Hello\n\nid: \ndata: World\n\n",
            &[("Hello", "abc"), ("World", "")],
            &[],
        ),
        (
            "id: abc\ndata: Hello\n\nid: def\ndata: Goodbye",
            &[("Hello", "abc")],
            &["abc"],
        ),
    ] {
        let (mut stream, mut first) = open(&service).await;
        first.send(text).await;
        for (data, id) in events {
            stream.expect_event(data, id).await;
        }
        // Cuts the connection.
        drop(first);
        stream.expect_error().await;
        let mut second = stream.server.open().await;
        assert_eq!(second.request.header("last-event-id"), id);
        second.send("id: ghi\ndata: We meet again\n\n").await;
        assert_eq!(
            stream.callback().await,
            event("message", "We meet again", "ghi")
        );
        service.close(stream).await;
    }
}

#[tokio::test]
async fn the_body_is_sent_again() {
    let service = Service::start().await;
    for method in ["POST", "REPORT"] {
        let params = json!({ "method": method, "body": r#"{"hello": "world"}"# });
        let stream = service.stream(params).await;
        for _ in 0..3 {
            let request = stream.server.open().await.request;
            assert_eq!(request.method, method);
            assert_eq!(request.body, br#"{"hello": "world"}"#);
        }
    }
}

#[tokio::test]
async fn silence_is_an_error_and_then_another_request() {
    let service = Service::start().await;
    let mut stream = service.stream(json!({ "readTimeoutMs": 500 })).await;
    let mut first = stream.server.open().await;
    first.send("data: Hello\n\n").await;
    stream.expect_event("Hello", "").await;
    stream.expect_error().await;
    // The timeout also applies to the head.
    let second = stream.server.accept().await;
    stream.expect_error().await;
    let third = stream.server.open().await;
    drop((second, third));
}

#[tokio::test]
async fn each_loss_is_one_error() {
    let service = Service::start().await;
    let (mut stream, first) = open(&service).await;
    first.end().await;
    stream.expect_error().await;
    drop(stream.server.accept().await);
    stream.expect_error().await;
    let mut third = stream.server.open().await;
    third.send("data: a\n\n").await;
    stream.expect_event("a", "").await;
}
