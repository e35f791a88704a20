//! How you test your own program: a handler through a client, a client against scripted responses, and the
//! bytes of a response. No sockets, and no waiting, as the clock is paused.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http_body_util::BodyExt;
use tidings::axum::RouterExt;
use tidings::client::{ErrorKind, SseClient};
use tidings::server::{HandlerError, Session, SessionOptions, SseRequest};
use tidings::{Event, Heartbeat, Reconnect};
use tokio::time::{Instant, sleep};

/// The handler under test: three numbers, a minute apart.
async fn count(session: Session) -> Result<(), HandlerError> {
    let last = session.last_event_id().and_then(|id| id.parse().ok());
    for n in last.map_or(0, |last: u32| last + 1)..3 {
        session
            .send(Event::new(format!("number {n}")).id(n))
            .await?;
        sleep(Duration::from_secs(60)).await;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_handler_is_tested_through_a_client() {
    // A router is a transport of the client: no port, no task.
    let client = SseClient::over_service(Router::new().sse("/count", count));
    let start = Instant::now();
    let request = client.get("http://test/count").last_event_id(0);
    let mut session = request.open().await.unwrap();
    let mut texts = Vec::new();
    while let Some(event) = session.try_next().await.unwrap() {
        texts.push(event.text().to_owned());
    }
    assert_eq!(texts, ["number 1", "number 2"]);
    // Two minutes by the paused clock, which jumps to the next timer when all tasks wait.
    assert_eq!(start.elapsed().as_secs(), 120);
}

#[tokio::test(start_paused = true)]
async fn the_bytes_of_a_response_are_tested_without_a_client() {
    let (parts, ()) = Request::new(()).into_parts();
    let options = SessionOptions::new().heartbeat(Heartbeat::default());
    let response = SseRequest::new(parts).options(options).open(count);
    assert_eq!(
        response.headers()[header::CONTENT_TYPE],
        "text/event-stream"
    );
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    assert!(text.starts_with("id: 0\ndata: number 0\n\n:"), "{text:?}");
    // A heartbeat after each 15 s of silence, in three minutes.
    assert!(
        text.lines().filter(|line| line.starts_with(':')).count() >= 9,
        "{text:?}"
    );
}

/// Answers of a server, one per request; and the last event ID of each request.
#[derive(Clone)]
struct Script {
    answers: Arc<Mutex<std::vec::IntoIter<Response>>>,
    ids: Arc<Mutex<Vec<String>>>,
}

impl Script {
    fn new(answers: impl IntoIterator<Item = Response>) -> Self {
        let answers: Vec<_> = answers.into_iter().collect();
        Self {
            answers: Arc::new(Mutex::new(answers.into_iter())),
            ids: Arc::default(),
        }
    }

    fn client(&self) -> SseClient {
        let script = self.clone();
        let answer = async move |headers: HeaderMap| {
            let id = headers.get("last-event-id").map(|id| id.to_str().unwrap());
            script
                .ids
                .lock()
                .unwrap()
                .push(id.unwrap_or_default().to_owned());
            script.answers.lock().unwrap().next().unwrap()
        };
        let client = SseClient::over_service(Router::new().route("/", get(answer)));
        client.reconnect(Reconnect::standard())
    }
}

/// A stream of this text, which then ends. The text may be as wrong as you like.
fn stream(text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, "text/event-stream")], text).into_response()
}

#[tokio::test(start_paused = true)]
async fn a_client_is_tested_against_scripted_responses() {
    let script = Script::new([
        stream("id: a\ndata: first\n\ndata: cut in the mid"),
        stream("retry: 60000\nid: b\ndata: second\n\n"),
        StatusCode::NO_CONTENT.into_response(),
    ]);
    let mut session = script.client().get("http://test/").open().await.unwrap();
    let start = Instant::now();
    for text in ["first", "second"] {
        let event = session.try_next().await.unwrap().unwrap();
        assert_eq!(event.text(), text);
    }
    assert!(session.try_next().await.unwrap().is_none());
    assert_eq!(*script.ids.lock().unwrap(), ["", "a", "b"]);
    // The server set the time to reconnect to 60 s.
    assert!(start.elapsed() >= Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_an_error_with_its_status() {
    let script = Script::new([(StatusCode::NOT_FOUND, "no such stream").into_response()]);
    let error = script
        .client()
        .get("http://test/")
        .open()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Status(StatusCode::NOT_FOUND));
    assert_eq!(error.response().unwrap().body(), "no such stream");
}
