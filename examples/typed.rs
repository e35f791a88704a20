//! Both ends speak one serde enum: a variant is an event's name, what it holds is the data.

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
    // Something that a later version of the enum may know.
    let weather = EventName::from_static("weather");
    session.send(Event::new("rain").event(weather)).await?;
    session.send_typed(&Shop::Resync).await?;
    Ok(())
}

#[allow(clippy::print_stdout, reason = "that is where an example speaks")]
async fn hear(url: String) -> Result<(), Box<dyn Error>> {
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
        heard = hear(url) => heard,
        served = serve(listener, Router::new().sse("/shop", shop)) => Ok(served?),
    }
}
