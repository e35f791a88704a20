//! As much as each client reads on `/events`: the events are made once, and sent to all.

use axum::{Router, extract::State};
use std::{error::Error, time::Duration};
use tidings::axum::{RouterExt, serve, shutdown_signal};
use tidings::server::{Drain, HandlerError, Session};
use tidings::{EncodedEvents, Event};

/// A send waits for its own client alone: one that reads nothing stays behind with what is queued,
/// 64 KiB, and with what the sockets hold, and slows nobody.
async fn pour(State(batch): State<EncodedEvents>, session: Session) -> Result<(), HandlerError> {
    loop {
        // Shares the bytes of all clients; none is copied.
        session.send(batch.clone()).await?;
    }
}

#[tokio::main]
#[allow(clippy::print_stdout, reason = "that is where an example speaks")]
async fn main() -> Result<(), Box<dyn Error>> {
    let batch: EncodedEvents = (0..256)
        .map(|n| Event::new(format!("drop {n} {}", "~".repeat(100))))
        .collect();
    let app = Router::new().sse("/events", pour).with_state(batch);
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
