//! `open_or_response`: a stream, or another response as a whole.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use tidings_client::{Error, ErrorKind, Reconnect, Session, StreamOrResponse};
use tidings_testkit::timeout::timeout;

use crate::scripted::{Part, Script, Server, parts, read_all, status, stream};

const STREAM: &[(&str, &str)] = &[("content-type", "text/event-stream")];

fn json(status: u16, body: &[Part]) -> Script {
    Script::Answer {
        status,
        content_type: Some("application/json"),
        body: body.to_vec(),
    }
}

async fn ask(server: &Server, reconnect: Reconnect) -> Result<StreamOrResponse, Error> {
    let client = server.client(reconnect).max_response_bytes(10);
    let client = client.idle_timeout(Duration::from_secs(1));
    client.post("http://test/").open_or_response().await
}

fn response(answer: Result<StreamOrResponse, Error>) -> Response<Bytes> {
    match answer.unwrap() {
        StreamOrResponse::Response(response) => response,
        StreamOrResponse::Stream(session) => panic!("{session:?}"),
    }
}

fn session(answer: Result<StreamOrResponse, Error>) -> Session {
    match answer.unwrap() {
        StreamOrResponse::Stream(session) => session,
        StreamOrResponse::Response(response) => panic!("{response:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn json_is_a_response_with_its_head_and_body() {
    let body = [Part::Bytes(b"[1,"), Part::Wait(900), Part::Bytes(b"2]")];
    let server = Server::plays([json(200, &body)]);
    let response = response(ask(&server, Reconnect::standard()).await);
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.body(), "[1,2]");
    assert_eq!(server.open_bodies.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn any_success_without_a_stream_is_a_response() {
    let untyped = Script::Answer {
        status: 200,
        content_type: None,
        body: Vec::new(),
    };
    for (script, expected) in [
        (status(204), 204),
        (json(202, &[]), 202),
        (json(201, &[Part::Bytes(b"{}")]), 201),
        (untyped, 200),
    ] {
        let server = Server::plays([script]);
        let response = response(ask(&server, Reconnect::standard()).await);
        assert_eq!(response.status(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_a_session() {
    let server = Server::plays([stream("data: a\n\n")]);
    let mut session = session(ask(&server, Reconnect::off()).await);
    assert_eq!(read_all(&mut session).await, (vec!["a".into()], None));
}

#[tokio::test(start_paused = true)]
async fn a_response_in_place_of_a_reconnection_is_an_error() {
    let server = Server::plays([stream("data: a\n\n"), json(200, &[])]);
    let client = server.client(Reconnect::standard());
    let mut session = session(client.get("http://test/").open_or_response().await);
    let kind = ErrorKind::ContentType(Some("application/json".into()));
    let read = (vec!["a".into()], Some(kind));
    assert_eq!(read_all(&mut session).await, read);
}

#[tokio::test(start_paused = true)]
async fn a_stream_with_another_success_is_a_session_unless_it_answers_a_get() {
    let server = Server::plays([Script::Head(201, STREAM, "data: a\n\n"), status(201)]);
    let mut session = session(ask(&server, Reconnect::off()).await);
    assert_eq!(read_all(&mut session).await, (vec!["a".into()], None));
    // It is no response either, as it may never end.
    let get = server.client(Reconnect::off()).get("http://test/");
    let error = get.open_or_response().await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Status(StatusCode::CREATED));
}

#[tokio::test(start_paused = true)]
async fn a_response_in_a_coding_that_is_not_decoded_is_an_error() {
    const JSON: Script = Script::Head(
        200,
        &[
            ("content-type", "application/json"),
            ("content-encoding", "br"),
        ],
        "xy",
    );
    let server = Server::plays([JSON, JSON]);
    let error = ask(&server, Reconnect::persistent()).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::ContentEncoding("br"));
    let post = server.client(Reconnect::off()).post("http://test/");
    let post = post.header("accept-encoding", "br");
    let answer = response(post.open_or_response().await);
    assert_eq!(answer.body(), "xy");
    assert_eq!(answer.headers()["content-encoding"], "br");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_an_error() {
    for status in [404, 500] {
        let server = Server::plays([json(status, &[Part::Bytes(b"no")])]);
        let error = ask(&server, Reconnect::standard()).await.unwrap_err();
        let kind = ErrorKind::Status(StatusCode::from_u16(status).unwrap());
        assert_eq!(error.kind(), &kind);
        assert_eq!(error.response().unwrap().body(), "no");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_has_at_most_the_limit() {
    let within = [Part::Bytes(b"01234"), Part::Bytes(b"56789")];
    let server = Server::plays([json(200, &within)]);
    let answer = response(ask(&server, Reconnect::off()).await);
    assert_eq!(answer.body(), "0123456789");

    let over = [within.as_slice(), &[Part::Bytes(b"x")]].concat();
    let huge = vec![Part::Bytes(b"01234"); 100_000];
    for body in [over, huge] {
        let server = Server::plays([json(200, &body)]);
        let error = ask(&server, Reconnect::standard()).await.unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::ResponseTooLarge);
        assert_eq!(server.open_bodies.load(Ordering::SeqCst), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_or_stalls_is_an_error_and_not_requested_again() {
    for end in [Part::Cut, Part::Stall] {
        let server = Server::plays([json(200, &[Part::Bytes(b"[1,"), end])]);
        let error = ask(&server, Reconnect::persistent()).await.unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Interrupted);
        assert_eq!(error.is_timeout(), matches!(end, Part::Stall));
        assert_eq!(server.requests(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_future_closes_the_connection() {
    let server = Server::plays([json(200, &[Part::Bytes(b"[1,"), Part::Stall])]);
    let client = server.client(Reconnect::standard());
    let opening = client.get("http://test/").open_or_response();
    timeout(Duration::from_secs(60), opening).await.unwrap_err();
    assert_eq!(server.open_bodies.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn the_request_accepts_both_unless_it_sets_its_own_accept() {
    let server = Server::plays([status(204), status(204), parts(&[])]);
    let client = server.client(Reconnect::off());
    let request = || client.get("http://test/");
    request().open_or_response().await.unwrap();
    let own = request().header("accept", "text/event-stream, application/xml");
    own.open_or_response().await.unwrap();
    request()
        .header("accept", "text/html")
        .open()
        .await
        .unwrap();
    let sent = [
        ["text/event-stream, application/json"],
        ["text/event-stream, application/xml"],
        ["text/html"],
    ];
    assert_eq!(server.header("accept"), sent);
}

#[tokio::test(start_paused = true)]
async fn a_first_connection_that_fails_is_retried_as_the_policy_decides() {
    let server = Server::plays([Script::Refuse, json(200, &[Part::Bytes(b"1")])]);
    let client = server.client(Reconnect::standard());
    let answer = client.get("http://test/").open_or_response().await;
    assert_eq!(response(answer).body(), "1");
}
