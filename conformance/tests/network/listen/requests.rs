//! The requests of `listen`, and its arguments.

use std::process::Command;

use super::Listen;
use crate::process::Process;
use crate::server::{Request, Server};

fn expect_of_a_stream(request: &Request, last_event_id: &[&str]) {
    assert_eq!(request.method, "GET");
    assert_eq!(request.header("accept"), ["text/event-stream"]);
    assert_eq!(request.header("cache-control"), ["no-cache"]);
    assert_eq!(request.header("last-event-id"), last_event_id);
}

#[tokio::test]
async fn the_first_request_asks_for_an_event_stream_without_an_id() {
    let server = Server::start();
    let listen = Listen::to(&server.url("/a%20b?c=d&e#f"));
    let request = server.answer("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(request.target, "/a%20b?c=d&e");
    assert_eq!(request.header("host").len(), 1);
    expect_of_a_stream(&request, &[]);
    listen.expect_failure().await;
}

/// Each case: a stream, and the `Last-Event-ID` of the request after it.
#[tokio::test]
async fn each_reconnection_resumes_after_the_last_id() {
    let long = format!("{{\"offset\":\"{}\"}}", "…".repeat(300));
    let with_long = format!("id: {long}\ndata: a\n\n");
    let cases: [(&str, &[&str]); 10] = [
        ("data: a\n\n", &["given"]),
        ("id: 1\ndata: a\n\ndata: b\n\n", &["1"]),
        ("id: 2\n\n", &["2"]),
        ("id: 3\ndata: unfinished\n", &["2"]),
        ("id: a\0b\ndata: a\n\n", &["2"]),
        ("id: …¯ü\ndata: a\n\n", &["…¯ü"]),
        ("id\ndata: a\n\n", &[]),
        ("data: a\n\n", &[]),
        (&with_long, &[&long]),
        ("id:\n\n", &[]),
    ];
    let server = Server::start();
    let environment = [
        ("SSE_INITIAL_DELAY_MS", "0"),
        ("SSE_LAST_EVENT_ID", "given"),
    ];
    let _listen = Listen::with(&server.url("/"), &environment);
    let mut sent: &[&str] = &["given"];
    for (text, next) in cases {
        let mut connection = server.open().await;
        expect_of_a_stream(&connection.request, sent);
        connection.send(text).await;
        connection.end().await;
        sent = next;
    }
    expect_of_a_stream(&server.open().await.request, sent);
}

#[tokio::test]
async fn an_event_without_an_id_has_the_given_last_event_id() {
    let server = Server::start();
    let mut listen = Listen::with(&server.url("/"), &[("SSE_LAST_EVENT_ID", "…")]);
    let mut connection = server.open().await;
    expect_of_a_stream(&connection.request, &["…"]);
    connection.send("data: a\n\nid\ndata: b\n\n").await;
    listen.expect_open().await;
    listen.expect_event("a", "…").await;
    listen.expect_event("b", "").await;
}

#[tokio::test]
async fn an_empty_variable_counts_as_unset() {
    let server = Server::start();
    let environment = [("SSE_INITIAL_DELAY_MS", ""), ("SSE_LAST_EVENT_ID", "")];
    let _listen = Listen::with(&server.url("/"), &environment);
    expect_of_a_stream(&server.accept().await.request, &[]);
}

#[tokio::test]
async fn wrong_arguments_print_the_usage() {
    let url = "http://127.0.0.1:1/";
    let cases: [(&[&str], &str, &str); 5] = [
        (&[], "SSE_LAST_EVENT_ID", "1"),
        (&[url, url], "SSE_LAST_EVENT_ID", "1"),
        (&[url], "SSE_LAST_EVENT_ID", "a\nb"),
        (&[url], "SSE_INITIAL_DELAY_MS", "soon"),
        (&[url], "SSE_INITIAL_DELAY_MS", "-1"),
    ];
    for (arguments, name, value) in cases {
        let mut command = Command::new(env!("CARGO_BIN_EXE_listen"));
        let mut process = Process::start(command.args(arguments).env(name, value));
        let status = process.end().await;
        assert_eq!(status.code(), Some(2), "{arguments:?} {name}={value:?}");
    }
}
