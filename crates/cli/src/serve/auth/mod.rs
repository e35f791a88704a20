//! The rights of a request: its token, the cookie of the page, and tickets.

mod caller;
mod cookie;
mod gate;
mod session;
mod tickets;

use std::path::Path;
use std::time::SystemTime;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::post;
use jiff::Timestamp;

use super::app::App;
use crate::tokens::{Auth, load_keys};

pub(super) use caller::Caller;

/// The path at which a page exchanges its token for a cookie.
const SESSION: &str = "/session";

/// The routes that only a server with keys has.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route(SESSION, post(session::open).delete(session::close))
        .route("/tickets", post(tickets::issue))
}

/// Requires a token for these routes, except for those that are open to everyone.
pub(super) fn gate(routes: Router, app: &App) -> Router {
    match &app.auth {
        Some(_) => routes.layer(from_fn_with_state(app.clone(), gate::check)),
        None => routes,
    }
}

/// Reads the keys of this file.
///
/// # Errors
/// Names the fault of the file.
pub(super) fn open(path: &Path, audience: Option<&str>) -> Result<Auth, String> {
    let loaded = load_keys(path)?;
    if let Some(warning) = loaded.warning {
        tracing::warn!("{warning}");
    }
    Ok(Auth::new(loaded.keys, audience.map(str::to_owned)))
}

/// Replaces the keys by those of this file. Streams under keys that are gone end.
///
/// # Errors
/// Names the fault of the file. The keys stay as they were.
pub(super) fn reload(auth: &Auth, path: &Path) -> Result<(), String> {
    let loaded = load_keys(path)?;
    if let Some(warning) = loaded.warning {
        tracing::warn!("{warning}");
    }
    auth.replace(loaded.keys);
    Ok(())
}

/// The wall clock.
fn now() -> SystemTime {
    Timestamp::now()
        .try_into()
        .unwrap_or_else(|_| unreachable!("the clock has a time that it can show"))
}
