//! The contenders of tidings.

use std::future::ready;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1::Builder;
use tidings_axum::RouterExt;
use tidings_proto::{EncodedEvents, Heartbeat};
use tidings_server::{HandlerError, IoDeadline, Session, SseRequest};
use tokio::net::TcpListener;
use tokio::sync::broadcast::Receiver;

use crate::server::on_hyper;
use crate::server::serving::Stage;

pub async fn on_hyper(listener: TcpListener, stage: Stage<EncodedEvents>) {
    let answer = move |parts| {
        let events = stage.events.subscribe();
        let heartbeat = stage.heartbeat;
        ready(SseRequest::new(parts).open(move |session| send_events(session, events, heartbeat)))
    };
    // Wrapped as the documentation of `IoDeadline` shows.
    on_hyper::serve(listener, Builder::new(), IoDeadline::new, answer).await;
}

pub async fn serve(listener: TcpListener, stage: Stage<EncodedEvents>) {
    drop(tidings_axum::serve(listener, router(stage)).await);
}

pub async fn on_axum(listener: TcpListener, stage: Stage<EncodedEvents>) {
    drop(axum::serve(listener, router(stage)).await);
}

fn router(stage: Stage<EncodedEvents>) -> Router {
    Router::new().sse("/events", move |session: Session| {
        send_events(session, stage.events.subscribe(), stage.heartbeat)
    })
}

async fn send_events(
    session: Session,
    mut events: Receiver<EncodedEvents>,
    heartbeat: Option<Duration>,
) -> Result<(), HandlerError> {
    if let Some(period) = heartbeat {
        session.heartbeat(Heartbeat::every(period));
    }
    loop {
        session.send(events.recv().await?).await?;
    }
}
