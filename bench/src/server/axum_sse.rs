//! Owns axum's own `Sse`, over the stream that tokio makes of a broadcast.

use axum::Router;
use axum::response::sse::{Event, KeepAlive};
use axum::response::{IntoResponse, Response, Sse};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_stream::wrappers::BroadcastStream;

use crate::server::on_hyper;
use crate::server::rows::PERIOD;
use crate::server::serving::Stage;

pub async fn on_axum(listener: TcpListener, stage: Stage<Event>) {
    let router = Router::new().route("/events", get(async move || answer(&stage)));
    drop(axum::serve(listener, router).await);
}

pub async fn on_hyper(listener: TcpListener, stage: Stage<Event>) {
    on_hyper::serve(listener, |stream| stream, move |_| answer(&stage)).await;
}

fn answer(stage: &Stage<Event>) -> Response {
    let sse = Sse::new(BroadcastStream::new(stage.events.subscribe()));
    if stage.heartbeat {
        let heartbeat = KeepAlive::new().interval(PERIOD).text("heartbeat");
        return sse.keep_alive(heartbeat).into_response();
    }
    sse.into_response()
}
