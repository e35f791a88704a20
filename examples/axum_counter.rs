//! A counter on `/events` that never ends, compressed for clients that accept it. A client that
//! reconnects resumes with the next number.

use axum::{Router, routing::get};
use std::{error::Error, time::Duration};
use tidings::axum::{serve, shutdown_signal, sse};
use tidings::server::{Drain, HandlerError, Session, SessionOptions};
use tidings::{Event, Heartbeat};

async fn count(session: Session) -> Result<(), HandlerError> {
    let last = session.last_event_id().and_then(|id| id.parse().ok());
    let mut next = last.map_or(0, |last: u64| last.wrapping_add(1));
    loop {
        let event = Event::new(next.to_string()).id(next);
        session.send(event).await?;
        tokio::time::sleep(Duration::from_millis(200)).await;
        next = next.wrapping_add(1);
    }
}

#[tokio::main]
#[allow(clippy::print_stdout, reason = "an example prints to the terminal")]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = SessionOptions::new()
        .heartbeat(Heartbeat::default())
        .compression(true);
    let app = Router::new().route("/events", get(sse(count).options(options)));
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
