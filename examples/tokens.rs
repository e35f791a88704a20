//! A stream that outlives its tokens: each connection has a fresh one, and resumes.

use axum::http::{StatusCode, header::AUTHORIZATION};
use axum::{Router, response::Response, routing::get};
use std::{error::Error, sync::atomic::AtomicU32, sync::atomic::Ordering::Relaxed, time::Duration};
use tidings::{Event, Reconnect, axum::SseRequest, axum::serve};
use tokio::net::TcpListener;

/// The token that is good now.
static TOKEN: AtomicU32 = AtomicU32::new(0);

/// Elsewhere, a request to whoever issues tokens.
async fn fresh_token() -> String {
    format!("token{}", TOKEN.fetch_add(1, Relaxed) + 1)
}

/// Six events; a token is good for two of them.
async fn events(request: SseRequest) -> Result<Response, StatusCode> {
    let token = format!("Bearer token{}", TOKEN.load(Relaxed));
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
        Ok(())
    }))
}

#[allow(clippy::print_stdout, reason = "that is where an example speaks")]
async fn hear(url: String) -> Result<(), Box<dyn Error>> {
    let client = tidings::client()
        .reconnect(Reconnect::standard().reconnection_time(Duration::from_millis(100)))
        .before_connect(|mut attempt| async {
            attempt.set_bearer(fresh_token().await)?;
            Ok(attempt)
        });
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
        heard = hear(url) => heard,
        served = serve(listener, Router::new().route("/events", get(events))) => Ok(served?),
    }
}
