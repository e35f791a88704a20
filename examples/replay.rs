//! A feed that loses no event, or reports the loss: `GET /feed` sends `{"n":N}` every 20 ms, with N
//! one higher each time.
//!
//! A client that reconnects sends its last event ID in `Last-Event-ID` or `?last_event_id=`, and
//! receives the events after it. The server keeps the last 1,000 events, which is 20 s. A client that
//! was away longer, that has an ID of another run of this program, or an ID that never existed, first
//! receives an event `gap`.
//!
//! `STORE` is the path of a file. The server then keeps the events of the last 7 days in it, and the feed
//! survives any end of the server, `kill -9` included: the next run continues with the next number, and its
//! clients resume.

use axum::{Router, routing::get};
use std::{env, error::Error, time::Duration};
use tidings::Event;
use tidings::axum::{SseRequest, serve, shutdown_signal};
use tidings::hub::{Hub, Retention};
use tidings::server::Drain;

async fn count(hub: Hub) -> Result<(), Box<dyn Error + Send + Sync>> {
    // The feed is the only channel, so its numbers are those of the log.
    let newest = hub.channel("feed")?.state().await?.newest;
    let mut clock = tokio::time::interval(Duration::from_millis(20));
    for n in newest.map_or(1, |newest| newest.seq + 1).. {
        clock.tick().await;
        let event = Event::new(format!(r#"{{"n":{n}}}"#));
        hub.publish("feed", event).await?;
    }
    Ok(())
}

#[tokio::main]
#[allow(clippy::print_stdout, reason = "an example prints to the terminal")]
async fn main() -> Result<(), Box<dyn Error>> {
    let hub = match env::var_os("STORE") {
        Some(path) => tidings::store::hub(path)?,
        None => Hub::builder().in_memory(Retention::in_memory().max_events(Some(1_000))),
    };
    let publisher = hub.clone();
    tokio::spawn(async move {
        if let Err(error) = count(publisher).await {
            eprintln!("the feed has stopped: {error}");
        }
    });
    let feed = async move |request: SseRequest| request.forward(hub.subscribe("feed")).await;
    let app = Router::new().route("/feed", get(feed));
    let port = env::var("PORT").map_or(Ok(8080), |port| port.parse())?;
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
