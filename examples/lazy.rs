//! A lazy stream: a function returns `impl Stream`, and the connection opens when somebody first polls it.

use axum::Router;
use futures_util::{Stream, TryFutureExt, TryStreamExt};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::{error::Error, pin::pin};
use tidings::axum::{Event, RouterExt, Session, serve};
use tidings::client::{self, SseClient};
use tokio::net::TcpListener;

static CONNECTIONS: AtomicU32 = AtomicU32::new(0);

/// The prices as numbers. An error, also of the first connection, is an item of the stream.
fn prices(
    client: &SseClient,
    url: &str,
) -> impl Stream<Item = Result<u32, client::Error>> + Send + use<> {
    let events = client.get(url).open().try_flatten_stream();
    events.and_then(async |event| Ok(event.json()?))
}

#[allow(clippy::print_stdout, reason = "an example prints to the terminal")]
async fn print_prices(url: String) -> Result<(), Box<dyn Error>> {
    let mut prices = pin!(prices(&tidings::client(), &url));
    println!("{} connections", CONNECTIONS.load(Relaxed));
    while let Some(price) = prices.try_next().await? {
        println!("{price}, {} connection", CONNECTIONS.load(Relaxed));
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let app = Router::new().sse("/prices", async |session: Session| {
        CONNECTIONS.fetch_add(1, Relaxed);
        for price in [100, 200] {
            session.send(Event::from_json(&price)?).await?;
        }
        Ok(())
    });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/prices", listener.local_addr()?);
    tokio::select! {
        printed = print_prices(url) => printed,
        served = serve(listener, app) => Ok(served?),
    }
}
