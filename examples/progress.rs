//! A long job, and a page that shows how far it is: `POST /jobs` starts one, `GET /jobs/{id}` tells
//! first where it stands and then each step, and `GET /` is the page.

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

/// More are not remembered; the oldest is forgotten first.
const MAX_JOBS: usize = 1000;

/// The protocol: an event's name is the variant's.
#[derive(Clone, Serialize)]
#[serde(rename_all = "snake_case")]
enum Update {
    Progress { percent: u32 },
    Done { answer: u32 },
}

/// Where each job stands. Who is slow misses a step, never the last.
type Jobs = Arc<Mutex<BTreeMap<u64, watch::Receiver<Update>>>>;

async fn start(State(jobs): State<Jobs>) -> impl IntoResponse {
    let (stands, job) = watch::channel(Update::Progress { percent: 0 });
    tokio::spawn(work(stands));
    let mut jobs = jobs.lock().unwrap_or_else(PoisonError::into_inner);
    let id = jobs.last_key_value().map_or(1, |(last, _)| last + 1);
    jobs.insert(id, job);
    if jobs.len() > MAX_JOBS {
        jobs.pop_first();
    }
    (StatusCode::CREATED, [(LOCATION, format!("/jobs/{id}"))])
}

async fn work(stands: watch::Sender<Update>) {
    for percent in 1..100 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        // Nobody may listen now, and come later.
        stands.send_replace(Update::Progress { percent });
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    stands.send_replace(Update::Done { answer: 42 });
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
#[allow(clippy::print_stdout, reason = "that is where an example speaks")]
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
    // Now that it would hear of its end.
    println!("listening on http://{address}");
    Ok(server.await?)
}
