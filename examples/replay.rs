//! A feed that loses nothing, or says so: `GET /feed` is a channel that gets `{"n":N}`, N rising by one, every
//! 20 ms.
//!
//! Who comes back says by `Last-Event-ID`, or by `?last_event_id=`, what it has heard last, and hears what
//! follows. The last 1,000 events are kept, which is 20 s of them. Who stayed away for longer, was at another
//! run of this program, or comes with an id that never was, is told by an event named `gap` first.

use axum::{Router, routing::get};
use std::{error::Error, time::Duration};
use tidings::axum::{SseRequest, serve, shutdown_signal};
use tidings::hub::{Hub, Retention};
use tidings::server::{Drain, SessionOptions};
use tidings::{Event, Heartbeat};

async fn count(hub: Hub) -> Result<(), tidings::hub::PublishError> {
    let mut clock = tokio::time::interval(Duration::from_millis(20));
    for n in 1_u64.. {
        clock.tick().await;
        let event = Event::new(format!(r#"{{"n":{n}}}"#));
        hub.publish("feed", event).await?;
    }
    Ok(())
}

#[tokio::main]
#[allow(clippy::print_stdout, reason = "that is where an example speaks")]
async fn main() -> Result<(), Box<dyn Error>> {
    let hub = Hub::builder().in_memory(Retention::in_memory().max_events(1_000));
    tokio::spawn(count(hub.clone()));
    let options = SessionOptions::new().heartbeat(Heartbeat::default());
    let feed = async move |request: SseRequest| {
        let request = request.options(options);
        request.forward(hub.subscribe("feed")).await
    };
    let app = Router::new().route("/feed", get(feed));
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
