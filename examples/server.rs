//! Six events, a second apart, to whoever asks for `/events`.

use std::time::Duration;

use axum::Router;
use tidings::axum::{RouterExt, serve};
use tidings::server::Session;
use tidings::{Event, Heartbeat};
use tokio::net::TcpListener;

#[tokio::main]
#[allow(clippy::print_stdout, reason = "that is where an example speaks")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let app = Router::new().sse("/events", async |session: Session| {
        session.heartbeat(Heartbeat::default());
        for n in 0..6 {
            session
                .send(Event::new(format!("this is SSE #{n}")).id(n))
                .await?;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        Ok(())
    });
    let port = std::env::var("PORT").map_or(Ok(8080), |port| port.parse())?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    serve(listener, app).await?;
    Ok(())
}
