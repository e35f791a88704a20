//! `App`: what the routes share, and the routes.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tidings::axum::{Drain, SessionOptions};
use tidings::hub::Hub;

use super::body::{self, Room};
use super::logging::RequestLog;
use super::origin::Allowed;
use super::{
    Args, auth, batch, channels, end, health, limits, origin, page, problem, publish, subscribe,
};
use crate::tokens::Auth;

/// A batch has at most one of so many parts of the retention unconfirmed. Events that are removed before the
/// hub has read them are never confirmed, and other publishers need room too.
const UNCONFIRMED_PARTS: u64 = 4;

/// What the routes share.
#[derive(Debug, Clone)]
pub(super) struct App(Arc<Shared>);

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) hub: Hub,
    pub(super) drain: Drain,
    /// The check of tokens. `None`: everyone may do everything.
    pub(super) auth: Option<Auth>,
    /// The options of each subscriber's session.
    pub(super) session: SessionOptions,
    pub(super) max_body: usize,
    /// The room for the bodies that are being received.
    pub(super) bodies: Room,
    pub(super) body_time: Duration,
    /// At most how many bytes of the log a batch publishes before they are confirmed.
    pub(super) max_unconfirmed: u64,
    pub(super) max_name: usize,
    pub(super) max_channels: usize,
}

impl App {
    pub(super) fn new(hub: Hub, drain: Drain, auth: Option<Auth>, args: &Args) -> Self {
        let limits = &args.limits;
        Self(Arc::new(Shared {
            hub,
            drain,
            auth,
            session: limits.session(),
            max_body: limits.max_body_bytes(),
            bodies: Room::new(limits.max_bodies_bytes()),
            body_time: limits.request_time,
            max_unconfirmed: args.log.max_bytes() / UNCONFIRMED_PARTS,
            max_name: limits.max_name,
            max_channels: limits.max_channels,
        }))
    }
}

impl std::ops::Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

pub(super) fn router(app: &App, args: &Args) -> Router {
    let channel = get(subscribe::to_channel)
        .post(publish::publish)
        .delete(end::end);
    let mut routes = Router::new()
        .route("/channels", get(channels::list).post(batch::publish))
        .route("/channels/{*name}", channel)
        .route("/events", get(subscribe::to_channels))
        .route("/healthz", get(health::is_alive))
        .route("/readyz", get(health::is_ready))
        .route("/metrics", get(health::metrics))
        .merge(page::routes());
    if app.auth.is_some() {
        routes = routes.merge(auth::routes());
    }
    let routes = auth::gate(routes.with_state(app.clone()), app);
    let allowed = Arc::new(Allowed::new(args));
    origin::share(routes, &allowed).layer(from_fn_with_state(allowed, around))
}

/// What is done before and after each route. It is one middleware and not one for each step, as each would
/// put a future on the heap and copy the routes under it.
async fn around(State(allowed): State<Arc<Allowed>>, request: Request, next: Next) -> Response {
    let log = RequestLog::of(&request);
    let version = request.version();
    let request = body::linger(request);
    let response = match allowed.check(&request) {
        Ok(()) => problem::from_response(next.run(request).await).await,
        Err(refusal) => refusal.into_response(),
    };
    log.write(response.status());
    limits::close_after_streams(response, version)
}
