//! Responses that open a stream, that are fatal, and that lead to a reconnection.

use std::time::Duration;

use tokio::time::Instant;

use super::Listen;
use crate::server::{ClosedPort, Server};

#[tokio::test]
async fn a_stream_of_the_media_type_opens() {
    for content_type in [
        "text/event-stream",
        "Text/Event-STREAM",
        "text/event-stream;charset=windows-1252",
        "text/event-stream ; charset=utf-8",
        "text/event-stream;",
    ] {
        let server = Server::start();
        let mut listen = Listen::to(&server.url("/"));
        let response =
            format!("HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\n\r\ndata: …\n\n");
        server.answer(&response).await;
        listen.expect_open().await;
        listen.expect_event("…", "").await;
        listen.expect_loss().await;
    }
}

#[tokio::test]
async fn an_interim_response_is_skipped() {
    let server = Server::start();
    let mut listen = Listen::to(&server.url("/"));
    server
        .answer("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
        .await;
    listen.expect_open().await;
}

/// It fails at the head, and does not wait for the body.
#[tokio::test]
async fn another_status_or_media_type_is_fatal() {
    let mut heads: Vec<String> = [
        201, 202, 205, 206, 300, 304, 305, 400, 401, 403, 404, 408, 410, 425, 429, 500, 502, 503,
        504, 599,
    ]
    .map(|status| format!("{status} X\r\ncontent-type: text/event-stream\r\nlocation: /a"))
    .to_vec();
    for content_type in [
        "text/plain",
        "text/event-streams",
        "text /event-stream",
        "application/json",
        "text/event-stream,text/plain",
        "",
    ] {
        heads.push(format!("200 OK\r\ncontent-type: {content_type}"));
    }
    heads.push("200 OK".into());
    heads.push("204 No Content\r\ncontent-type: text/event-stream".into());
    heads.push("503 Busy\r\nretry-after: 0".into());
    for head in heads {
        let server = Server::start();
        let listen = Listen::to(&server.url("/"));
        let mut connection = server.accept().await;
        let response = format!("HTTP/1.1 {head}\r\n\r\n");
        let began = Instant::now();
        connection.write(&response).await;
        listen.expect_failure().await;
        assert!(began.elapsed() < Duration::from_secs(3), "{head}");
        server.expect_no_request().await;
    }
}

#[tokio::test]
async fn a_refusal_ends_a_stream_that_was_open() {
    for response in [
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n",
    ] {
        let server = Server::start();
        let mut listen = Listen::to(&server.url("/"));
        server.open().await.end().await;
        listen.expect_open().await;
        listen.expect_loss().await;
        server.answer(response).await;
        listen.expect_failure().await;
    }
}

#[tokio::test]
async fn an_invalid_response_leads_to_a_reconnection() {
    for response in [
        "",
        "HTTP/1.1 200",
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n",
        "hello\r\n\r\n",
        "HTTP/1.1 abc OK\r\n\r\n",
    ] {
        let server = Server::start();
        let mut listen = Listen::to(&server.url("/"));
        server.answer(response).await;
        listen.expect_loss().await;
        server.open().await;
        listen.expect_open().await;
    }
}

#[tokio::test]
async fn a_server_that_does_not_listen_yet_is_tried_again() {
    let port = ClosedPort::new();
    let environment = [("SSE_INITIAL_DELAY_MS", "5")];
    let mut listen = Listen::with(&port.url("/"), &environment);
    for _ in 0..4 {
        listen.expect_loss().await;
    }
    port.open().open().await;
    // Some more attempts may have failed before.
    while listen.process.line().await.expect("an open") != r#"{"t":"open"}"# {}
}

#[tokio::test]
async fn an_invalid_url_is_fatal() {
    for url in ["", "nowhere", "/path", "http://", "ftp://localhost/"] {
        Listen::to(url).expect_failure().await;
    }
}

#[tokio::test]
async fn an_event_over_the_limit_is_fatal() {
    let server = Server::start();
    let mut listen = Listen::to(&server.url("/"));
    let mut connection = server.open().await;
    connection.send("id: 1\ndata: a\n\ndata: ").await;
    listen.expect_open().await;
    listen.expect_event("a", "1").await;
    let megabyte = "x".repeat(1 << 20);
    for _ in 0..16 {
        connection.send(&megabyte).await;
    }
    listen.expect_failure().await;
    connection.expect_closed().await;
    server.expect_no_request().await;
}
