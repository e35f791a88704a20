//! Long jobs, and a page that shows their progress.
//!
//! * `POST /jobs` starts a job: 201, with its `Location`.
//! * `GET /jobs/{id}` streams the current progress, then each step.
//! * `GET /` is the page.

use axum::extract::{Path, State};
use axum::http::{StatusCode, header::LOCATION};
use axum::response::{Html, IntoResponse, Response};
use axum::{Router, routing::get, routing::post};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::{error::Error, time::Duration};
use tidings::axum::{SseRequest, serve, shutdown_signal};
use tidings::server::Drain;
use tokio::sync::watch;

/// With more jobs, the oldest is forgotten.
const MAX_JOBS: usize = 1000;

/// The protocol: the name of an event is the name of its variant.
#[derive(Clone, Serialize)]
#[serde(rename_all = "snake_case")]
enum Update {
    Progress { percent: u32 },
    Done { answer: u32 },
}

/// The latest update of each job. A slow client may miss steps, but never the last.
type Jobs = Arc<Mutex<BTreeMap<u64, watch::Receiver<Update>>>>;

async fn start(State(jobs): State<Jobs>) -> impl IntoResponse {
    let (updates, job) = watch::channel(Update::Progress { percent: 0 });
    tokio::spawn(work(updates));
    let mut jobs = jobs.lock().unwrap_or_else(PoisonError::into_inner);
    let id = jobs.last_key_value().map_or(1, |(last, _)| last + 1);
    jobs.insert(id, job);
    if jobs.len() > MAX_JOBS {
        jobs.pop_first();
    }
    (StatusCode::CREATED, [(LOCATION, format!("/jobs/{id}"))])
}

async fn work(updates: watch::Sender<Update>) {
    for percent in 1..100 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        // Kept for later clients, even if none is connected.
        updates.send_replace(Update::Progress { percent });
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    updates.send_replace(Update::Done { answer: 42 });
}

async fn follow(
    State(jobs): State<Jobs>,
    Path(id): Path<String>,
    request: SseRequest,
) -> Result<Response, StatusCode> {
    let id: u64 = id.parse().map_err(|_| StatusCode::NOT_FOUND)?;
    let jobs = jobs.lock().unwrap_or_else(PoisonError::into_inner);
    let mut job = jobs.get(&id).cloned().ok_or(StatusCode::NOT_FOUND)?;
    Ok(request.open(async move |session| {
        loop {
            let update = job.borrow_and_update().clone();
            session.send_typed(&update).await?;
            if matches!(update, Update::Done { .. }) {
                return Ok(());
            }
            job.changed().await?;
        }
    }))
}

#[tokio::main]
#[allow(clippy::print_stdout, reason = "an example prints to the terminal")]
async fn main() -> Result<(), Box<dyn Error>> {
    let app = Router::new()
        .route("/", get(Html(include_str!("progress.html"))))
        .route("/jobs", post(start))
        .route("/jobs/{id}", get(follow))
        .with_state(Jobs::default());
    let port = std::env::var("PORT").map_or(Ok(8080), |port| port.parse())?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    let address = listener.local_addr()?;
    let drain = Drain::new().deadline(Duration::from_secs(1));
    let server = serve(listener, app)
        .drain(&drain)
        .drain_on(shutdown_signal());
    // Printed after `shutdown_signal` has begun to listen.
    println!("listening on http://{address}");
    Ok(server.await?)
}
