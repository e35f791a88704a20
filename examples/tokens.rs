//! A stream that outlives its access tokens: after a 401 the client renews its token, and resumes.

use axum::http::{StatusCode, header::AUTHORIZATION};
use axum::{Router, response::Response, routing::get};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::{error::Error, sync::Arc, time::Duration};
use tidings::client::{Attempt, ErrorKind, TransportError};
use tidings::{Event, Reconnect, axum::SseRequest, axum::serve};
use tokio::{net::TcpListener, sync::Mutex};

/// The number of the token that the server accepts.
static VALID: AtomicU32 = AtomicU32::new(1);

/// In your program: a request to the server that issues tokens.
async fn fresh_token() -> String {
    format!("token{}", VALID.load(Relaxed))
}

/// Sends six events, two per connection. Then the token expires.
async fn events(request: SseRequest) -> Result<Response, StatusCode> {
    let token = format!("Bearer {}", fresh_token().await);
    if request.parts().headers.get(AUTHORIZATION) != token.parse().ok().as_ref() {
        return Err(StatusCode::UNAUTHORIZED);
    }
    let last = request.last_event_id().and_then(|id| id.parse().ok());
    let next = last.map_or(0, |last: u32| last.saturating_add(1));
    if next >= 6 {
        return Err(StatusCode::NO_CONTENT);
    }
    Ok(request.open(async move |session| {
        for n in next..next + 2 {
            let event = Event::new(format!("this is SSE #{n}, by {token}"));
            session.send(event.id(n)).await?;
        }
        VALID.fetch_add(1, Relaxed);
        Ok(())
    }))
}

/// Runs before each connection. Keeps its token until the server refuses it.
#[allow(clippy::print_stdout, reason = "an example prints to the terminal")]
async fn authorize(
    token: Arc<Mutex<String>>,
    mut attempt: Attempt,
) -> Result<Attempt, TransportError> {
    let mut token = token.lock().await;
    let last_error = attempt.last_error().map(|error| error.kind());
    if last_error == Some(&ErrorKind::Status(StatusCode::UNAUTHORIZED)) {
        *token = fresh_token().await;
        println!("renewed: {token}");
    }
    attempt.set_bearer(token.as_str())?;
    Ok(attempt)
}

#[allow(clippy::print_stdout, reason = "an example prints to the terminal")]
async fn print_events(url: String) -> Result<(), Box<dyn Error>> {
    let token = Arc::new(Mutex::new(fresh_token().await));
    let client = tidings::client()
        .reconnect(Reconnect::standard().reconnection_time(Duration::from_millis(100)))
        .before_connect_with(token, authorize)
        // A second 401 in a row, with a fresh token, ends the session.
        .retry_unauthorized(1);
    let mut session = client.get(url).open().await?;
    while let Some(event) = session.try_next().await? {
        println!("{}", event.text());
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/events", listener.local_addr()?);
    tokio::select! {
        printed = print_events(url) => printed,
        served = serve(listener, Router::new().route("/events", get(events))) => Ok(served?),
    }
}
