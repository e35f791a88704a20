//! A serde enum as the protocol of both ends: the variant is the event's name, its content is the data.

use axum::Router;
use serde::{Deserialize, Serialize};
use std::error::Error;
use tidings::axum::{RouterExt, serve};
use tidings::server::{HandlerError, Session};
use tidings::{Event, EventName};
use tokio::net::TcpListener;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Shop {
    Customer { id: u32, name: String },
    Product { id: u32, prices: Vec<u32> },
    Resync,
}

async fn shop(session: Session) -> Result<(), HandlerError> {
    let (id, name) = (0, "Jet Brains".into());
    session.send_typed(&Shop::Customer { id, name }).await?;
    let prices = vec![100, 200];
    session.send_typed(&Shop::Product { id, prices }).await?;
    // An event that only a later version of the enum knows.
    let weather = EventName::from_static("weather");
    session.send(Event::new("rain").event(weather)).await?;
    session.send_typed(&Shop::Resync).await?;
    Ok(())
}

#[allow(clippy::print_stdout, reason = "an example prints to the terminal")]
async fn print_events(url: String) -> Result<(), Box<dyn Error>> {
    let session = tidings::client().get(url).open().await?;
    let mut shop = session.typed::<Shop>();
    while let Some(event) = shop.try_next().await? {
        match event.data {
            Some(Ok(Shop::Customer { id, name })) => println!("customer {id} is {name}"),
            Some(Ok(Shop::Product { id, prices })) => println!("product {id} costs {prices:?}"),
            Some(Ok(Shop::Resync)) => println!("from the beginning"),
            Some(Err(unknown)) => println!("{unknown}: {}", unknown.event().text()),
            None => {}
        }
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/shop", listener.local_addr()?);
    tokio::select! {
        printed = print_events(url) => printed,
        served = serve(listener, Router::new().sse("/shop", shop)) => Ok(served?),
    }
}
