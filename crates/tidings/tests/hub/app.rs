//! A route over hubs whose connections are cut as a test says, and a client of it; no sockets.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::request::Parts;
use axum::response::Response;
use axum::routing::get;
use axum::{RequestPartsExt, Router};
use tidings::axum::SseRequest;
use tidings::client::{Lifecycle, RequestBuilder, SseClient};
use tidings::hub::{Hub, Subscription};
use tidings::proto::Gap;
use tidings::server::SessionOptions;
use tidings::{Event, Heartbeat, Reconnect};
use tokio::time::timeout;

use crate::line::{Cut, HangUp, Line};

#[derive(Clone)]
pub(crate) struct App(Arc<Inner>);

/// What becomes of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fate {
    /// Of its answer.
    pub(crate) cut: Cut,
    /// Something on the way takes the id off.
    pub(crate) loses_id: bool,
}

impl From<Cut> for Fate {
    fn from(cut: Cut) -> Self {
        let loses_id = false;
        Self { cut, loses_id }
    }
}

struct Inner {
    /// One for each request, in turn.
    nodes: Mutex<Vec<Hub>>,
    subscribe: Box<dyn Fn(&Hub) -> Subscription + Send + Sync>,
    /// One for each request; with those that come after them all is well.
    fates: Mutex<VecDeque<Fate>>,
    connection: Mutex<Option<HangUp>>,
    /// With which id each request came.
    requests: Mutex<Vec<Option<String>>>,
    gaps: Mutex<Vec<Gap>>,
}

impl App {
    pub(crate) fn new(
        nodes: Vec<Hub>,
        subscribe: impl Fn(&Hub) -> Subscription + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Inner {
            nodes: Mutex::new(nodes),
            subscribe: Box::new(subscribe),
            fates: Mutex::default(),
            connection: Mutex::default(),
            requests: Mutex::default(),
            gaps: Mutex::default(),
        }))
    }

    /// What becomes of the next requests.
    pub(crate) fn expect(&self, fates: impl IntoIterator<Item = impl Into<Fate>>) {
        let fates = fates.into_iter().map(Into::into);
        self.0.fates.lock().unwrap().extend(fates);
    }

    /// Whoever comes from now on comes to this one.
    pub(crate) fn replace(&self, hub: &Hub) {
        *self.0.nodes.lock().unwrap() = vec![hub.clone()];
    }

    /// Breaks the connection that there is.
    pub(crate) fn hang_up(&self) {
        drop(self.0.connection.lock().unwrap().take());
    }

    pub(crate) fn requests(&self) -> Vec<Option<String>> {
        self.0.requests.lock().unwrap().clone()
    }

    /// The gaps that the client was told.
    pub(crate) fn gaps(&self) -> Vec<Gap> {
        self.0.gaps.lock().unwrap().clone()
    }

    /// The node whose turn it is.
    fn turn(&self, id: Option<String>) -> Hub {
        let mut requests = self.0.requests.lock().unwrap();
        let nodes = self.0.nodes.lock().unwrap();
        let node = nodes[requests.len() % nodes.len()].clone();
        requests.push(id);
        node
    }

    /// A client that comes back after 3 s.
    pub(crate) fn request(&self) -> RequestBuilder {
        let router = Router::new().route("/", get(feed)).with_state(self.clone());
        let app = self.clone();
        SseClient::over_service(router)
            .reconnect(Reconnect::standard())
            .gaps(true)
            .dedupe(true)
            .on_lifecycle(move |lifecycle| {
                if let Lifecycle::Gap(gap) = lifecycle {
                    app.0.gaps.lock().unwrap().push(gap.clone());
                }
            })
            .get("http://hub/")
    }
}

async fn feed(State(app): State<App>, mut parts: Parts) -> Response {
    let fate = app.0.fates.lock().unwrap().pop_front();
    let fate = fate.unwrap_or(Cut::NEVER.into());
    let id = parts.headers.get("last-event-id");
    let hub = app.turn(id.map(|id| id.to_str().unwrap().into()));
    if fate.loses_id {
        parts.headers.remove("last-event-id");
    }
    let options = SessionOptions::default().heartbeat(Heartbeat::default());
    let request: SseRequest = parts.extract().await.unwrap();
    let subscription = (app.0.subscribe)(&hub);
    let response = request.options(options).forward(subscription).await;
    response.map(|body| {
        let (line, hang_up) = Line::new(Body::new(body), fate.cut);
        *app.0.connection.lock().unwrap() = Some(hang_up);
        Body::new(line)
    })
}

/// An event as it was published, or heard.
pub(crate) fn id_and_text(event: &Event) -> (String, String) {
    let id = event.id.as_ref().map(ToString::to_string);
    (id.unwrap_or_default(), event.text().into())
}

/// An hour of paused time is over as soon as everybody waits.
pub(crate) async fn within_an_hour<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(3600), future).await.unwrap()
}
