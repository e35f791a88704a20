//! A stream on `/events` as fast as each client reads: the events are encoded once, and sent to all.

use axum::{Router, extract::State};
use std::{error::Error, time::Duration};
use tidings::axum::{RouterExt, serve, shutdown_signal};
use tidings::server::{Drain, HandlerError, Session};
use tidings::{EncodedEvents, Event};

/// A send waits only for its own client. A client that reads nothing costs its queue, 64 KiB, and its socket
/// buffers, and delays no other.
async fn send_for_ever(
    State(batch): State<EncodedEvents>,
    session: Session,
) -> Result<(), HandlerError> {
    loop {
        // All clients share the bytes; nothing is copied.
        session.send(batch.clone()).await?;
    }
}

#[tokio::main]
#[allow(clippy::print_stdout, reason = "an example prints to the terminal")]
async fn main() -> Result<(), Box<dyn Error>> {
    let batch: EncodedEvents = (0..256)
        .map(|n| Event::new(format!("drop {n} {}", "~".repeat(100))))
        .collect();
    let app = Router::new()
        .sse("/events", send_for_ever)
        .with_state(batch);
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
