//! The content of an error.

use std::time::Duration;

use http::StatusCode;
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
async fn an_error_carries_the_head_and_body_of_a_refusal() {
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
async fn an_error_carries_the_body_of_a_refusal_that_broke_off() {
    let server = Server::plays([refusal(403, &[Part::Bytes(b"who "), Part::Cut])]);
    let error = server.open(Reconnect::standard()).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Status(StatusCode::FORBIDDEN));
    assert_eq!(error.response().unwrap().body(), "who ");
}

#[tokio::test(start_paused = true)]
async fn an_endless_refusal_does_not_delay_the_error() {
    let started = Instant::now();
    let server = Server::plays([refusal(404, &[Part::Bytes(b"wait"), Part::Stall])]);
    let error = server.open(Reconnect::standard()).await.unwrap_err();
    assert_eq!(error.response().unwrap().body(), "wait");
    assert_eq!(started.elapsed(), Duration::from_secs(1));

    let silent = [
        Part::Wait(900),
        Part::Bytes(b"a"),
        Part::Wait(1100),
        Part::Bytes(b"b"),
    ];
    let server = Server::plays([refusal(404, &silent)]);
    let started = Instant::now();
    let error = server.open(Reconnect::standard()).await.unwrap_err();
    assert_eq!(error.response().unwrap().body(), "a");
    assert_eq!(started.elapsed(), Duration::from_millis(1900));

    let started = Instant::now();
    let trickle = [Part::Bytes(b"x"), Part::Wait(900)].repeat(100);
    let server = Server::plays([refusal(404, &trickle)]);
    let error = server.open(Reconnect::standard()).await.unwrap_err();
    assert_eq!(error.response().unwrap().body(), "xxxxxx");
    assert_eq!(started.elapsed(), Duration::from_secs(5));
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

    // Frames without bytes count too.
    let empty = vec![Part::Bytes(b""); 100_000];
    let server = Server::plays([refusal(404, &empty)]);
    assert!(server.open(Reconnect::off()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn an_error_knows_whether_another_try_may_help() {
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
async fn an_error_carries_the_last_event_id_and_the_buffer() {
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
    assert_eq!(error.kind(), &ErrorKind::Interrupted);
    assert_eq!(error.last_event_id().unwrap(), "7");
    assert_eq!(error.buffer(), Some("data: b\n\n"));
}

#[tokio::test(start_paused = true)]
async fn the_buffer_holds_the_last_connection_only() {
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
async fn no_buffer_is_kept_by_default() {
    let server = Server::plays([parts(&[Part::Bytes(b"data: a\n\n"), Part::Cut])]);
    let mut session = server.open(Reconnect::off()).await.unwrap();
    session.try_next().await.unwrap();
    let error = session.try_next().await.unwrap_err();
    assert_eq!((error.buffer(), error.response().is_none()), (None, true));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_carries_the_wait_that_it_asks_for() {
    let server = Server::plays([Script::Busy("7"), status(503)]);
    for expected in [Some(Duration::from_secs(7)), None] {
        let error = server.open(Reconnect::off()).await.unwrap_err();
        assert_eq!(error.retry_after(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_network_error_names_host_and_port_and_no_more() {
    let url = "http://us3r:pa55@test:8080/path?query";
    let server = Server::plays([Script::Refuse, parts(&[Part::Cut])]);
    let client = server.client(Reconnect::off());
    let error = client.get(url).open().await.unwrap_err();
    assert_eq!(error.to_string(), "could not connect to test:8080");
    assert!(error.is_connect() && !error.is_timeout());

    let mut session = client.get(url).open().await.unwrap();
    let error = session.try_next().await.unwrap_err();
    let message = "the stream from test:8080 was interrupted";
    assert_eq!(error.to_string(), message);
    assert!(!error.is_connect() && !error.is_timeout());
    // Also after a redirect: it names the server that failed.
    let server = Server::plays([
        Script::Redirect(307, "https://other.test/x?y"),
        Script::Refuse,
    ]);
    let error = server.open(Reconnect::off()).await.unwrap_err();
    assert_eq!(error.to_string(), "could not connect to other.test:443");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_names_host_and_port_and_no_more() {
    let page = refusal(200, &[Part::Bytes(b"s3cret")]);
    for (script, message) in [
        (status(503), "answered 503 Service Unavailable"),
        (
            page,
            "sent \"text/plain; charset=utf-8\"; read_media_type reads other types",
        ),
    ] {
        let server = Server::plays([script]);
        let request = server.client(Reconnect::off());
        let request = request.get("https://us3r:pa55@shop.example/s3cret?s3cret");
        let error = request.bearer("s3cret").open().await.unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("expected ") && text.contains(", but shop.example:443 "),
            "{text}"
        );
        assert!(text.ends_with(message), "{text}");
        // This is what `main` prints when it returns the error.
        let debug = format!("{error:?}");
        assert!(debug.contains(&format!("message: {text:?}")), "{debug}");
        for secret in ["s3cret", "us3r", "pa55"] {
            assert!(!debug.contains(secret), "{debug}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_timeout_is_known_as_one() {
    let server = Server::plays([Script::Hang, parts(&[Part::Stall])]);
    let second = Duration::from_secs(1);
    let client = server.client(Reconnect::off());
    let client = client.response_timeout(second).idle_timeout(second);
    let error = client.get("http://test/").open().await.unwrap_err();
    assert!(error.is_timeout() && error.is_connect());
    let mut session = client.get("http://test/").open().await.unwrap();
    let error = session.try_next().await.unwrap_err();
    assert!(error.is_timeout() && !error.is_connect());
}

#[tokio::test(start_paused = true)]
async fn a_clone_of_an_error_keeps_what_it_carried() {
    let server = Server::plays([parts(&[Part::Bytes(b"id: 7\ndata: a\n\n"), Part::Cut])]);
    let mut session = server.open(Reconnect::standard()).await.unwrap();
    session.try_next().await.unwrap();
    let soon = Duration::from_millis(1);
    tidings_testkit::timeout::timeout(soon, session.try_next())
        .await
        .unwrap_err();
    let lost = session.last_error().unwrap().clone();
    drop(session);
    assert_eq!(lost.kind(), &ErrorKind::Interrupted);
    assert_eq!(std::error::Error::source(&lost).unwrap().to_string(), "cut");
}

#[tokio::test(start_paused = true)]
async fn an_odd_status_is_reported_as_it_is() {
    for (script, odd) in [
        (status(299), 299),
        (status(600), 600),
        (status(999), 999),
        (Script::Redirect(399, "/next"), 399),
        (Script::Redirect(999, "/next"), 999),
    ] {
        let server = Server::plays([script]);
        let error = server.open(Reconnect::persistent()).await.unwrap_err();
        let odd = StatusCode::from_u16(odd).unwrap();
        assert_eq!(error.kind(), &ErrorKind::Status(odd));
        assert_eq!(error.response().unwrap().status(), odd);
        assert_eq!(server.requests(), 1);
    }
}
