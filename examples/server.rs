//! Six events on `/events`, a second apart. A client that reconnects receives the rest.

use axum::Router;
use std::{error::Error, time::Duration};
use tidings::axum::{RouterExt, serve, shutdown_signal};
use tidings::server::{Drain, HandlerError, Session};
use tidings::{Event, Heartbeat};

async fn events(session: Session) -> Result<(), HandlerError> {
    session.heartbeat(Heartbeat::default());
    let last = session.last_event_id().and_then(|id| id.parse().ok());
    for n in last.map_or(0, |last: u32| last.saturating_add(1))..6 {
        session
            .send(Event::new(format!("this is SSE #{n}")).id(n))
            .await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

#[tokio::main]
#[allow(clippy::print_stdout, reason = "an example prints to the terminal")]
async fn main() -> Result<(), Box<dyn Error>> {
    let port = std::env::var("PORT").map_or(Ok(8080), |port| port.parse())?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    let address = listener.local_addr()?;
    let drain = Drain::new().deadline(Duration::from_secs(1));
    let server = serve(listener, Router::new().sse("/events", events))
        .drain(&drain)
        .drain_on(shutdown_signal());
    // Printed after `shutdown_signal` has begun to listen.
    println!("listening on http://{address}");
    Ok(server.await?)
}
