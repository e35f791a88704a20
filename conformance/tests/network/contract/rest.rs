//! The REST interface, and a callback server that misbehaves.

use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::Service;
use crate::server::Server;

#[tokio::test]
async fn the_service_lists_its_capabilities() {
    let service = Service::start().await;
    let answer = service.call("GET", "/", "").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/json");
    let answer: Value = serde_json::from_str(&answer.body).unwrap();
    let expected = json!([
        "bom",
        "comments",
        "headers",
        "last-event-id",
        "post",
        "read-timeout",
        "report",
        "restart",
        "server-directed-shutdown-request",
    ]);
    assert_eq!(answer["capabilities"], expected);
}

#[tokio::test]
async fn a_delete_stops_the_service() {
    let mut service = Service::start().await;
    let (_stream, connection) = service.open().await;
    // A connection with an unfinished request does not delay the end.
    let idle = TcpStream::connect(&service.address).await.unwrap();
    idle.writable().await.unwrap();
    idle.try_write(b"GET / HTTP/1.1\r\n").unwrap();
    let answer = service.call("DELETE", "/", "").await;
    assert!((200..300).contains(&answer.status), "{answer:?}");
    assert!(service.process.end().await.success());
    connection.expect_closed().await;
}

#[tokio::test]
async fn a_closed_stream_reports_nothing_more() {
    let service = Service::start().await;
    let (mut stream, mut connection) = service.open().await;
    connection.send("data: a\n\n").await;
    stream.expect_event("a", "").await;
    assert_eq!(service.call("DELETE", &stream.path, "").await.status, 204);
    connection.expect_closed().await;
    stream.server.expect_no_request().await;
    stream.callbacks.expect_no_request().await;
    assert_eq!(service.call("DELETE", &stream.path, "").await.status, 404);
    let restart = r#"{"command":"restart"}"#;
    assert_eq!(
        service.call("POST", &stream.path, restart).await.status,
        404
    );
}

#[tokio::test]
async fn each_stream_is_a_resource_of_its_own() {
    let service = Service::start().await;
    let (mut first, mut to_first) = service.open().await;
    let (mut second, mut to_second) = service.open().await;
    assert_eq!(
        (first.path.as_str(), second.path.as_str()),
        ("/streams/1", "/streams/2")
    );
    to_second.send("data: 2\n\n").await;
    second.expect_event("2", "").await;
    to_first.send("data: 1\n\n").await;
    first.expect_event("1", "").await;
}

#[tokio::test]
async fn an_unknown_command_changes_nothing() {
    let service = Service::start().await;
    let (mut stream, mut connection) = service.open().await;
    for command in [
        r#"{"command":"listen","listen":{"type":"a"}}"#,
        r#"{"command":""}"#,
    ] {
        let answer = service.call("POST", &stream.path, command).await;
        assert!((200..300).contains(&answer.status), "{answer:?}");
    }
    assert_eq!(
        service.call("POST", &stream.path, "restart").await.status,
        400
    );
    connection.send("event: a\ndata: b\n\n").await;
    assert_eq!(stream.callback().await, super::event("a", "b", ""));
}

#[tokio::test]
async fn invalid_parameters_are_refused() {
    let service = Service::start().await;
    let url = "http://127.0.0.1:1/";
    let with = |name: &str, value: Value| {
        let mut params = json!({ "streamUrl": url, "callbackUrl": url });
        params[name] = value;
        params.to_string()
    };
    for body in [
        "".into(),
        "{".into(),
        "[]".into(),
        json!({ "streamUrl": url }).to_string(),
        json!({ "callbackUrl": url }).to_string(),
        with("streamUrl", json!("http://[")),
        with("callbackUrl", json!("nowhere")),
        with("initialDelayMs", json!(-1)),
        with("readTimeoutMs", json!("soon")),
        with("lastEventId", json!("a\nb")),
        with("headers", json!({ "a b": "c" })),
        with("headers", json!({ "a": "b\nc" })),
        with("method", json!("A B")),
    ] {
        let answer = service.call("POST", "/", &body).await;
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
    }
    assert_eq!(service.call("GET", "/streams/1", "").await.status, 405);
}

#[tokio::test]
async fn a_failed_callback_is_dropped_and_the_next_one_is_sent() {
    let service = Service::start().await;
    let (mut stream, mut connection) = service.open().await;
    connection.send("data: 1\n\ndata: 2\n\ndata: 3\n\n").await;
    // The first callback gets no answer, and the second one is refused.
    drop(stream.callbacks.accept().await);
    stream
        .callbacks
        .answer("HTTP/1.1 404 X\r\ncontent-length: 0\r\n\r\n")
        .await;
    stream.called = 2;
    stream.expect_event("3", "").await;
}

#[tokio::test]
async fn an_unanswered_callback_delays_the_next_one_for_at_most_five_seconds() {
    let mut service = Service::start().await;
    let (mut stream, mut connection) = service.open().await;
    connection.send("data: 1\n\ndata: 2\n\n").await;
    let hanging = stream.callbacks.accept().await;
    // Callbacks are sent one at a time.
    stream.callbacks.expect_no_request().await;
    // The stream continues, and the other stream is not affected.
    drop(connection);
    let mut connection = stream.server.open().await;
    let (mut other, mut to_other) = service.open().await;
    to_other.send("data: a\n\n").await;
    other.expect_event("a", "").await;

    stream.called = 1;
    stream.expect_event("2", "").await;
    stream.expect_error().await;
    drop(hanging);

    connection.send("data: 3\n\n").await;
    let _hanging = stream.callbacks.accept().await;
    assert_eq!(service.call("DELETE", &stream.path, "").await.status, 204);
    connection.expect_closed().await;
    to_other.send("data: b\n\n").await;
    let _hanging = other.callbacks.accept().await;
    service.call("DELETE", "/", "").await;
    assert!(service.process.end().await.success());
}

#[tokio::test]
async fn a_callback_url_may_end_with_a_slash() {
    let service = Service::start().await;
    let callbacks = Server::start();
    let params = json!({ "callbackUrl": callbacks.url("/a/") });
    let stream = service.stream(params).await;
    stream.server.answer("HTTP/1.1 500 X\r\n\r\n").await;
    let request = callbacks.answer("HTTP/1.1 200 OK\r\n\r\n").await;
    assert_eq!(request.target, "/a/1");
}
