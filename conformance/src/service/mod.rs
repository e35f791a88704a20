//! The REST interface of the contract service: it makes streams, commands them and closes them.

mod callbacks;
mod params;
mod stream;

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::http::{HeaderName, StatusCode};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::sleep;

use params::Params;
use stream::Stream;

/// The capabilities beyond the standard that the harness may test.
const CAPABILITIES: [&str; 9] = [
    "bom",
    "comments",
    "headers",
    "last-event-id",
    "post",
    "read-timeout",
    "report",
    "restart",
    "server-directed-shutdown-request",
];

/// The longest time that open connections delay the end of the service after a DELETE.
const GRACE: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Service {
    streams: Mutex<Streams>,
    is_over: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Streams {
    made: u64,
    open: HashMap<u64, Stream>,
}

#[derive(Deserialize)]
struct Command {
    command: String,
}

/// The answer to an invalid request: a status and the reason.
type Refused = (StatusCode, String);

/// Serves until a DELETE stops it, or the listener fails.
///
/// # Errors
/// If the listener fails.
pub async fn serve(listener: TcpListener) -> io::Result<()> {
    let (is_over, mut over) = watch::channel(false);
    let mut stopped = over.clone();
    let service = Arc::new(Service {
        streams: Mutex::default(),
        is_over,
    });
    let served = axum::serve(listener, router(service)).with_graceful_shutdown(async move {
        stopped.wait_for(|is_over| *is_over).await.ok();
    });
    let patience = async {
        over.wait_for(|is_over| *is_over).await.ok();
        sleep(GRACE).await;
    };
    tokio::select! {
        served = served => served,
        () = patience => Ok(()),
    }
}

fn router(service: Arc<Service>) -> Router {
    Router::new()
        .route("/", get(status).delete(stop).post(make_stream))
        .route("/streams/{number}", post(command).delete(close_stream))
        .with_state(service)
}

async fn status() -> ([(HeaderName, &'static str); 1], String) {
    let status = json!({ "name": "tidings", "capabilities": CAPABILITIES });
    ([(CONTENT_TYPE, "application/json")], status.to_string())
}

async fn stop(State(service): State<Arc<Service>>) -> StatusCode {
    service.is_over.send_replace(true);
    StatusCode::NO_CONTENT
}

async fn make_stream(
    State(service): State<Arc<Service>>,
    body: Bytes,
) -> Result<(StatusCode, [(HeaderName, String); 1]), Refused> {
    let params: Params = read(&body)?;
    let mut streams = service.streams();
    streams.made += 1;
    let number = streams.made;
    streams.open.insert(number, Stream::start(params));
    let location = format!("/streams/{number}");
    Ok((StatusCode::CREATED, [(LOCATION, location)]))
}

async fn command(
    State(service): State<Arc<Service>>,
    Path(number): Path<u64>,
    body: Bytes,
) -> Result<StatusCode, Refused> {
    let Command { command } = read(&body)?;
    let streams = service.streams();
    let stream = streams.open.get(&number).ok_or_else(|| missing(number))?;
    match command.as_str() {
        "restart" => stream.restart(),
        // Such as `listen`: the service reports events of every type anyway.
        command => eprintln!("contract-service: no such command: {command:?}"),
    }
    Ok(StatusCode::ACCEPTED)
}

async fn close_stream(
    State(service): State<Arc<Service>>,
    Path(number): Path<u64>,
) -> Result<StatusCode, Refused> {
    let closed = service.streams().open.remove(&number);
    closed.ok_or_else(|| missing(number))?;
    Ok(StatusCode::NO_CONTENT)
}

impl Service {
    fn streams(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a body as JSON, and ignores its media type.
fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refused> {
    serde_json::from_slice(body).map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))
}

fn missing(number: u64) -> Refused {
    (
        StatusCode::NOT_FOUND,
        format!("there is no stream {number}"),
    )
}
