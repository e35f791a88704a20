//! axum's own `Sse`, over tokio's stream of a broadcast channel.

use std::future::ready;

use axum::Router;
use axum::response::sse::{Event, KeepAlive};
use axum::response::{IntoResponse, Response, Sse};
use axum::routing::get;
use hyper::server::conn::http1::Builder;
use tokio::net::TcpListener;
use tokio_stream::wrappers::BroadcastStream;

use crate::server::on_hyper;
use crate::server::serving::Stage;

pub async fn on_axum(listener: TcpListener, stage: Stage<Event>) {
    let router = Router::new().route("/events", get(async move || answer(&stage)));
    drop(axum::serve(listener, router).await);
}

pub async fn on_hyper(listener: TcpListener, stage: Stage<Event>) {
    let answer = move |_| ready(answer(&stage));
    on_hyper::serve(listener, Builder::new(), |stream| stream, answer).await;
}

fn answer(stage: &Stage<Event>) -> Response {
    let sse = Sse::new(BroadcastStream::new(stage.events.subscribe()));
    if let Some(period) = stage.heartbeat {
        let heartbeat = KeepAlive::new().interval(period).text("heartbeat");
        return sse.keep_alive(heartbeat).into_response();
    }
    sse.into_response()
}
