//! A route over hubs, whose connections the test cuts, and a client of it.

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
use tidings_testkit::timeout::timeout;

use crate::cut_body::{Connection, Cut, CutBody};

#[derive(Clone)]
pub(crate) struct App(Arc<Inner>);

/// How a request fails.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failure {
    /// Where its response is cut.
    pub(crate) cut: Cut,
    /// A proxy removes the last event ID.
    pub(crate) loses_id: bool,
}

impl From<Cut> for Failure {
    fn from(cut: Cut) -> Self {
        let loses_id = false;
        Self { cut, loses_id }
    }
}

struct Inner {
    /// Requests go to each in turn.
    nodes: Mutex<Vec<Hub>>,
    subscribe: Box<dyn Fn(&Hub) -> Subscription + Send + Sync>,
    /// One for each request. Later requests do not fail.
    failures: Mutex<VecDeque<Failure>>,
    connection: Mutex<Option<Connection>>,
    /// The last event ID of each request.
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
            failures: Mutex::default(),
            connection: Mutex::default(),
            requests: Mutex::default(),
            gaps: Mutex::default(),
        }))
    }

    /// Sets how the next requests fail.
    pub(crate) fn expect_failures(&self, failures: impl IntoIterator<Item = impl Into<Failure>>) {
        let failures = failures.into_iter().map(Into::into);
        self.0.failures.lock().unwrap().extend(failures);
    }

    /// Sends all requests to this hub from now on.
    pub(crate) fn replace(&self, hub: &Hub) {
        *self.0.nodes.lock().unwrap() = vec![hub.clone()];
    }

    /// Cuts the open connection.
    pub(crate) fn disconnect(&self) {
        drop(self.0.connection.lock().unwrap().take());
    }

    pub(crate) fn requests(&self) -> Vec<Option<String>> {
        self.0.requests.lock().unwrap().clone()
    }

    /// The gaps that the client received.
    pub(crate) fn gaps(&self) -> Vec<Gap> {
        self.0.gaps.lock().unwrap().clone()
    }

    /// The node that serves the next request.
    fn next_node(&self, id: Option<String>) -> Hub {
        let mut requests = self.0.requests.lock().unwrap();
        let nodes = self.0.nodes.lock().unwrap();
        let node = nodes[requests.len() % nodes.len()].clone();
        requests.push(id);
        node
    }

    pub(crate) fn router(&self) -> Router {
        Router::new().route("/", get(feed)).with_state(self.clone())
    }

    /// A request of a client that reconnects after 3 s.
    pub(crate) fn request(&self) -> RequestBuilder {
        self.request_of(SseClient::over_service(self.router()), "http://hub/")
    }

    /// A request of this client for this URL.
    pub(crate) fn request_of(&self, client: SseClient, url: &str) -> RequestBuilder {
        let app = self.clone();
        client
            .reconnect(Reconnect::standard())
            .gaps(true)
            .dedupe(true)
            .on_lifecycle(move |lifecycle| {
                if let Lifecycle::Gap(gap) = lifecycle {
                    app.0.gaps.lock().unwrap().push(gap.clone());
                }
            })
            .get(url)
    }
}

async fn feed(State(app): State<App>, mut parts: Parts) -> Response {
    let failure = app.0.failures.lock().unwrap().pop_front();
    let failure = failure.unwrap_or(Cut::NEVER.into());
    let id = parts.headers.get("last-event-id");
    let hub = app.next_node(id.map(|id| id.to_str().unwrap().into()));
    if failure.loses_id {
        parts.headers.remove("last-event-id");
    }
    let options = SessionOptions::default().heartbeat(Heartbeat::default());
    let request: SseRequest = parts.extract().await.unwrap();
    let subscription = (app.0.subscribe)(&hub);
    let response = request.options(options).forward(subscription).await;
    response.map(|body| {
        let (body, disconnect) = CutBody::new(Body::new(body), failure.cut);
        *app.0.connection.lock().unwrap() = Some(disconnect);
        Body::new(body)
    })
}

/// The ID and the text of an event.
pub(crate) fn id_and_text(event: &Event) -> (String, String) {
    let id = event.id.as_ref().map(ToString::to_string);
    (id.unwrap_or_default(), event.text().into())
}

/// An hour of paused time passes as soon as every task waits.
pub(crate) async fn within_an_hour<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(3600), future).await.unwrap()
}
