//! The router that all transports reach, over sockets and in process.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use tidings::Event;
use tidings::axum::{RouterExt, SseRequest};
use tidings::server::{HandlerError, Session};

/// Counts that a test checks afterwards.
#[derive(Clone, Default)]
pub(crate) struct Counts {
    pub(crate) connections: Arc<AtomicUsize>,
    pub(crate) running: Arc<AtomicUsize>,
}

/// Counts a handler while it exists.
struct Running(Arc<AtomicUsize>);

impl Running {
    fn new(counts: &Counts) -> Self {
        counts.running.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(&counts.running))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

pub(crate) fn app(counts: Counts) -> Router {
    Router::new()
        .route("/feed/{to}", get(feed))
        .sse("/endless", endless)
        .route("/answer", post(answer))
        .route("/created", get(created).post(created))
        .route("/away", get(async || Redirect::temporary("/feed/2")))
        .route("/refusal", get(refusal))
        .route("/page", get(async || "<html>"))
        .route("/headers", get(headers))
        .with_state(counts)
}

/// Sends events 1 to `to`: two per connection, then a cut. Answers 204 after the last.
async fn feed(State(counts): State<Counts>, Path(to): Path<u32>, request: SseRequest) -> Response {
    counts.connections.fetch_add(1, Ordering::SeqCst);
    let received: u32 = request
        .last_event_id()
        .and_then(|id| id.as_str().parse().ok())
        .unwrap_or(0);
    if received == to {
        return StatusCode::NO_CONTENT.into_response();
    }
    let response = request.open(async move |session: Session| {
        let last = to.min(received + 2);
        for n in received + 1..=last {
            session.send(Event::new(n.to_string()).id(n)).await?;
        }
        if last == to {
            Ok(())
        } else {
            Err(std::io::Error::other("cut").into())
        }
    });
    let mut response = response.map(Body::new);
    let cookie = HeaderValue::from_static("id=c00kie");
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    response
}

/// Sends one event, then waits for ever.
async fn endless(State(counts): State<Counts>, session: Session) -> Result<(), HandlerError> {
    let _running = Running::new(&counts);
    session.send(Event::new("first").id(1)).await?;
    std::future::pending().await
}

/// Sends the words of the prompt, one by one, then `[DONE]`.
async fn answer(request: SseRequest, body: String) -> Response {
    let response = request.open(async move |session: Session| {
        for word in body.split(' ') {
            session.send(Event::new(word)).await?;
        }
        session.send(Event::new("[DONE]")).await?;
        std::future::pending().await
    });
    response.map(Body::new)
}

/// Sends the length of the request's body, as its head tells it.
async fn created(headers: HeaderMap) -> impl IntoResponse {
    let length = headers.get("content-length");
    let length = length.map_or("none", |length| length.to_str().unwrap());
    let stream = [(header::CONTENT_TYPE, "text/event-stream")];
    (StatusCode::CREATED, stream, format!("data: {length}\n\n"))
}

async fn refusal() -> impl IntoResponse {
    (
        StatusCode::TOO_MANY_REQUESTS,
        [("retry-after", "1")],
        "slow down",
    )
}

/// Sends the headers of the request that do not depend on the transport, one per line.
async fn headers(request: Request) -> Response {
    let watched = [
        "accept",
        "authorization",
        "cache-control",
        "last-event-id",
        "x-mine",
    ];
    let text = |headers: &HeaderMap, name: &str| {
        let values = headers.get_all(name).iter();
        values
            .map(|value| format!("data: {name}={}\n", value.to_str().unwrap()))
            .collect::<String>()
    };
    let text: String = watched
        .iter()
        .map(|name| text(request.headers(), name))
        .chain([format!("data: {}\n\n", request.uri().query().unwrap_or(""))])
        .collect();
    ([(header::CONTENT_TYPE, "text/event-stream")], text).into_response()
}
