//! Reconnections: the order of the output, and the wait before each attempt.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::Listen;
use crate::server::{Connection, Server};

#[tokio::test]
async fn a_stream_is_printed_in_order() {
    let server = Server::start();
    let mut listen = Listen::to(&server.url("/"));
    for round in 0..3 {
        let mut connection = server.open().await;
        let text = format!(
            ":c\nevent: a\nid: {round}\ndata: 1\ndata: \"\u{2028}\\\n\ndata\n\nevent: x\n\nid\ndata: 2\n\ndata: unfinished"
        );
        connection.send(text).await;
        connection.end().await;
    }
    for round in 0..3 {
        listen.expect_open().await;
        let id = round.to_string();
        let first = json!({ "t": "event", "event": "a", "data": "1\n\"\u{2028}\\", "id": id });
        listen.expect(first).await;
        listen.expect_event("", &id).await;
        listen.expect_event("2", "").await;
        listen.expect_loss().await;
    }
}

#[tokio::test]
async fn an_event_is_printed_as_it_arrives() {
    let server = Server::start();
    let mut listen = Listen::to(&server.url("/"));
    let mut connection = server.open().await;
    listen.expect_open().await;
    for end in ["\n", "\r\n", "\r"] {
        connection.send(format!("data: a{end}{end}")).await;
        listen.expect_event("a", "").await;
    }
}

#[tokio::test]
async fn every_end_of_a_body_leads_to_a_reconnection() {
    async fn by_length(mut connection: Connection) {
        let head =
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 9\r\n\r\n";
        connection.write(head).await;
        connection.write("data: a\n\n").await;
    }
    async fn short_of_its_length(mut connection: Connection) {
        let head =
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 99\r\n\r\n";
        connection.write(head).await;
        connection.write("data: a\n\n").await;
    }
    async fn by_close(mut connection: Connection) {
        let head = "HTTP/1.0 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
        connection.write(head).await;
        connection.write("data: a\n\n").await;
    }
    let server = Server::start();
    let mut listen = Listen::to(&server.url("/"));
    for way in 0..5 {
        match way {
            0 => by_length(server.accept().await).await,
            1 => short_of_its_length(server.accept().await).await,
            2 => by_close(server.accept().await).await,
            cut => {
                let mut connection = server.open().await;
                connection.send("data: a\n\n").await;
                if cut == 3 {
                    connection.end().await;
                }
            }
        }
        listen.expect_open().await;
        listen.expect_event("a", "").await;
        listen.expect_loss().await;
    }
}

/// The time from the end of each stream to the next request.
async fn waits(server: &Server, streams: &[&str]) -> Vec<Duration> {
    let mut waits = Vec::new();
    let mut ended: Option<Instant> = None;
    for text in streams {
        let mut connection = server.open().await;
        waits.extend(ended.map(|ended| ended.elapsed()));
        connection.send(text).await;
        ended = Some(Instant::now());
        connection.end().await;
    }
    server.accept().await;
    waits.extend(ended.map(|ended| ended.elapsed()));
    waits
}

#[tokio::test]
async fn the_retry_time_of_the_server_is_kept() {
    let server = Server::start();
    let mut listen = Listen::with(&server.url("/"), &[("SSE_INITIAL_DELAY_MS", "60")]);
    let streams = [
        "data: a\n\n",
        "retry: 300\n\n",
        "data: a\n\n",
        "retry: 1.5\nretry: -1\nretry:\ndata: a\n\n",
        "retry: 400",
        "retry: 250\n",
    ];
    let times = [60, 300, 300, 300, 300, 250].map(Duration::from_millis);
    for (wait, time) in waits(&server, &streams).await.into_iter().zip(times) {
        assert!(
            wait >= time && wait < time + Duration::from_secs(5),
            "{wait:?} of {time:?}"
        );
    }
    listen.expect_open().await;
}

#[tokio::test]
async fn without_a_retry_time_the_wait_is_three_seconds() {
    let server = Server::start();
    let _listen = Listen::with(&server.url("/"), &[]);
    let wait = waits(&server, &["data: a\n\n"]).await[0];
    let range = Duration::from_secs(3)..Duration::from_secs(8);
    assert!(range.contains(&wait), "{wait:?}");
}

#[tokio::test]
async fn the_retry_time_outlives_a_connection_and_a_redirect() {
    let server = Server::start();
    let _listen = Listen::to(&server.url("/"));
    let mut connection = server.open().await;
    connection.send("retry: 300\n\n").await;
    let ended = Instant::now();
    connection.end().await;
    server
        .answer("HTTP/1.1 307 X\r\nlocation: /b\r\ncontent-length: 0\r\n\r\n")
        .await;
    assert!(ended.elapsed() >= Duration::from_millis(300));
    // A redirect is followed without a wait.
    let connection = server.open().await;
    let ended = Instant::now();
    connection.end().await;
    assert_eq!(server.accept().await.request.target, "/b");
    assert!(ended.elapsed() >= Duration::from_millis(300));
}
