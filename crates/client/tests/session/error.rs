//! What an error carries.

use std::time::Duration;

use tidings_client::{BufferPolicy, ErrorKind, Reconnect};
use tokio::time::Instant;

use crate::scripted::{Part, Script, Server, parts, status};

fn refusal(status: u16, body: &[Part]) -> Script {
    Script::Answer {
        status,
        content_type: Some("text/plain; charset=utf-8"),
        body: body.to_vec(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_told_with_its_head_and_body() {
    let body = [
        Part::Bytes(b"no "),
        Part::Wait(100),
        Part::Bytes(b"such \xff"),
    ];
    for (status, script) in [(404, refusal(404, &body)), (200, refusal(200, &body))] {
        let server = Server::plays([script]);
        let error = server.open(Reconnect::standard()).await.unwrap_err();
        let response = error.response().unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(
            response.headers()["content-type"],
            "text/plain; charset=utf-8"
        );
        assert_eq!(response.body(), "no such \u{fffd}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_came_of_a_refusal_before_it_broke_is_told() {
    let server = Server::plays([refusal(403, &[Part::Bytes(b"who "), Part::Cut])]);
    let error = server.open(Reconnect::standard()).await.unwrap_err();
    assert_eq!(
        error.kind(),
        &ErrorKind::Status(http::StatusCode::FORBIDDEN)
    );
    assert_eq!(error.response().unwrap().body(), "who ");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_without_end_does_not_hold_the_error_back() {
    let started = Instant::now();
    let server = Server::plays([refusal(404, &[Part::Bytes(b"wait"), Part::Stall])]);
    let error = server.open(Reconnect::standard()).await.unwrap_err();
    assert_eq!(error.response().unwrap().body(), "wait");
    assert_eq!(started.elapsed(), Duration::from_secs(5));

    let trickle = [Part::Bytes(b"x"), Part::Wait(900)].repeat(100);
    let server = Server::plays([refusal(404, &trickle)]);
    let error = server.open(Reconnect::standard()).await.unwrap_err();
    assert_eq!(error.response().unwrap().body(), "xxxxxx");
}

#[tokio::test(start_paused = true)]
async fn a_large_refusal_is_read_up_to_the_limit() {
    let large = vec![Part::Bytes(b"0123456789"); 10_000];
    let server = Server::plays([refusal(404, &large), refusal(404, &large)]);
    let client = server.client(Reconnect::off());
    let read = async |request: tidings_client::RequestBuilder| {
        let error = request.open().await.unwrap_err();
        error.response().unwrap().body().len()
    };
    assert_eq!(read(client.get("http://test/")).await, 64 * 1024);
    let request = client.get("http://test/").max_error_body_bytes(7);
    assert_eq!(read(request).await, 7);

    // Frames without bytes are no way around it.
    let empty = vec![Part::Bytes(b""); 100_000];
    let server = Server::plays([refusal(404, &empty)]);
    assert!(server.open(Reconnect::off()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn it_says_whether_another_try_may_help() {
    for (script, is_retryable) in [
        (Script::Refuse, true),
        (Script::Busy("1"), true),
        (status(429), true),
        (status(404), false),
        (Script::Unsendable, false),
        (refusal(200, &[]), false),
    ] {
        let server = Server::plays([script.clone()]);
        let error = server.open(Reconnect::off()).await.unwrap_err();
        assert_eq!(error.is_retryable(), is_retryable, "{script:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn it_says_where_the_session_was_and_what_it_read() {
    let server = Server::plays([parts(&[
        Part::Bytes(b"id: 7\ndata: a\n\ndata: b\n\nid: 8\nda"),
        Part::Cut,
    ])]);
    let client = server.client(Reconnect::off());
    let request = client
        .get("http://test/")
        .buffer_policy(BufferPolicy::LastEvent);
    let mut session = request.open().await.unwrap();
    for text in ["a", "b"] {
        assert_eq!(session.try_next().await.unwrap().unwrap().text(), text);
    }
    let error = session.try_next().await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Network);
    assert_eq!(error.last_event_id().unwrap(), "7");
    assert_eq!(error.buffer(), Some("data: b\n\n"));
}

#[tokio::test(start_paused = true)]
async fn only_the_last_connection_is_kept() {
    let server = Server::plays([
        parts(&[Part::Bytes(b"data: a\n\ndata: cut")]),
        parts(&[Part::Bytes(b"data: b\n\n"), Part::Cut]),
        Script::Refuse,
    ]);
    let client = server.client(Reconnect::fixed(1, Duration::ZERO));
    let request = client.get("http://test/").buffer_policy(BufferPolicy::All);
    let mut session = request.open().await.unwrap();
    for text in ["a", "b"] {
        assert_eq!(session.try_next().await.unwrap().unwrap().text(), text);
    }
    let error = session.try_next().await.unwrap_err();
    assert_eq!(error.buffer(), Some("data: b\n\n"));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_kept_unless_asked_for() {
    let server = Server::plays([parts(&[Part::Bytes(b"data: a\n\n"), Part::Cut])]);
    let mut session = server.open(Reconnect::off()).await.unwrap();
    session.try_next().await.unwrap();
    let error = session.try_next().await.unwrap_err();
    assert_eq!((error.buffer(), error.response().is_none()), (None, true));
}
