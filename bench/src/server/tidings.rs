//! Owns our own contenders.

use axum::Router;
use tidings_axum::RouterExt;
use tidings_proto::{EncodedEvents, Heartbeat};
use tidings_server::{HandlerError, IoDeadline, Session, SseRequest};
use tokio::net::TcpListener;
use tokio::sync::broadcast::Receiver;

use crate::server::on_hyper;
use crate::server::rows::PERIOD;
use crate::server::serving::Stage;

pub async fn on_hyper(listener: TcpListener, stage: Stage<EncodedEvents>) {
    let answer = move |parts| {
        let events = stage.events.subscribe();
        let heartbeat = stage.heartbeat;
        SseRequest::new(parts).open(move |session| hear(session, events, heartbeat))
    };
    // As its docs say.
    on_hyper::serve(listener, IoDeadline::new, answer).await;
}

pub async fn serve(listener: TcpListener, stage: Stage<EncodedEvents>) {
    drop(tidings_axum::serve(listener, router(stage)).await);
}

pub async fn on_axum(listener: TcpListener, stage: Stage<EncodedEvents>) {
    drop(axum::serve(listener, router(stage)).await);
}

fn router(stage: Stage<EncodedEvents>) -> Router {
    Router::new().sse("/events", move |session: Session| {
        hear(session, stage.events.subscribe(), stage.heartbeat)
    })
}

async fn hear(
    session: Session,
    mut events: Receiver<EncodedEvents>,
    heartbeat: bool,
) -> Result<(), HandlerError> {
    if heartbeat {
        session.heartbeat(Heartbeat::every(PERIOD));
    }
    loop {
        session.send(events.recv().await?).await?;
    }
}
