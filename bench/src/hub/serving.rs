//! The server's process: a hub, and the contender that serves its subscriptions.

use std::ops::Range;

use axum::Router;
use axum::routing::get;
use futures::future::try_join_all;
use hyper::server::conn::http1::Builder;
use tidings_hub::Hub;
use tidings_proto::Heartbeat;
use tidings_server::{IoDeadline, SessionOptions, SseRequest};
use tokio::net::TcpListener;

use crate::harness::Result;
use crate::hub::contenders::{ON_HYPER, ONE_SLICE, SERVE, TAPE_BODY};
use crate::hub::events::{CHANNEL, event};
use crate::hub::tape_body;
use crate::server::on_hyper;
use crate::server::serving::{self, Publisher, Serving};

/// The command line's name for [`serve`].
pub const COMMAND: &str = "broadcast-hub";

/// Serves until its standard input is closed.
pub fn serve(serving: &Serving) -> Result<()> {
    let heartbeat = serving.heartbeat();
    let options = options(heartbeat.map_or_else(Heartbeat::off, Heartbeat::every));
    match &*serving.contender {
        ON_HYPER => run(serving, |listener, hub| {
            serve_on_hyper(listener, Builder::new(), hub, options)
        }),
        ONE_SLICE => run(serving, |listener, hub| {
            let mut http = Builder::new();
            http.writev(false);
            serve_on_hyper(listener, http, hub, options)
        }),
        SERVE => run(serving, |listener, hub| {
            serve_router(listener, hub, options)
        }),
        TAPE_BODY => run(serving, tape_body::serve),
        _ => serving::serve(serving),
    }
}

fn options(heartbeat: Heartbeat) -> SessionOptions {
    SessionOptions::new().heartbeat(heartbeat)
}

fn run<F>(serving: &Serving, contender: impl FnOnce(TcpListener, Hub) -> F) -> Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    serving::prepare(serving)?;
    serving::run(serving, |listener| {
        let hub = Hub::in_memory();
        (contender(listener, hub.clone()), InHub(hub))
    })
}

async fn serve_on_hyper(listener: TcpListener, http: Builder, hub: Hub, options: SessionOptions) {
    let answer = move |parts| {
        let request = SseRequest::new(parts).options(options.clone());
        request.forward(hub.subscribe(CHANNEL))
    };
    on_hyper::serve(listener, http, IoDeadline::new, answer).await;
}

async fn serve_router(listener: TcpListener, hub: Hub, options: SessionOptions) {
    let answer = async move |request: tidings_axum::SseRequest| {
        let request = request.options(options);
        request.forward(hub.subscribe(CHANNEL)).await
    };
    let router = Router::new().route("/events", get(answer));
    drop(tidings_axum::serve(listener, router).await);
}

/// Events that are being appended to the log at a time.
const AT_ONCE: usize = 250;

struct InHub(Hub);

impl Publisher for InHub {
    async fn publish(&mut self, numbers: Range<usize>) -> Result<()> {
        let Range { start, end } = numbers;
        for start in (start..end).step_by(AT_ONCE) {
            let group = start..end.min(start + AT_ONCE);
            let published = group.map(|number| self.0.publish(CHANNEL, event(number)));
            try_join_all(published).await?;
        }
        Ok(())
    }
}
