//! The state of one channel, and of all channels in pages.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use axum::http::header::CACHE_CONTROL;
use axum::response::IntoResponse;
use serde::Serialize;
use tidings::hub::{ChannelName, ChannelState, ChannelStatus};

use super::app::App;
use super::auth::Caller;
use super::end::unknown;
use super::listed::Listed;
use super::problem::Problem;
use super::{name, query};

/// How many channels a page has, by default and at most.
const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1_000;

/// The state of a channel, as JSON.
#[derive(Debug, Serialize)]
struct Shown {
    name: String,
    status: &'static str,
    newest: Option<String>,
    /// Of exactly this channel, at this server.
    subscribers: usize,
}

/// A page of channels.
#[derive(Debug, Serialize)]
struct Page {
    channels: Vec<Shown>,
    /// The `after` of the next page.
    next: Option<String>,
}

impl From<ChannelState> for Shown {
    fn from(state: ChannelState) -> Self {
        Self {
            name: state.name.to_string(),
            status: match state.status {
                ChannelStatus::Unknown => "unknown",
                ChannelStatus::Open => "open",
                ChannelStatus::Ended => "ended",
            },
            newest: state.newest.map(|position| position.to_string()),
            subscribers: state.subscribers,
        }
    }
}

/// The state of one channel.
pub(super) async fn state(app: &App, name: &ChannelName) -> Result<impl IntoResponse, Problem> {
    let channel = app.hub.channel(name);
    let channel = channel.map_err(|error| Problem::invalid("invalid-name", error.to_string()))?;
    let state = channel.state().await?;
    if state.status == ChannelStatus::Unknown {
        return Err(unknown());
    }
    Ok(fresh(Shown::from(state)))
}

/// A page of the channels, in the order of their names.
pub(super) async fn list(
    State(app): State<App>,
    caller: Caller,
    uri: Uri,
) -> Result<impl IntoResponse, Problem> {
    let after = query::last(uri.query(), "after");
    let after = after.map(|after| name::parse(&app, &after)).transpose()?;
    let limit = query::last(uri.query(), "limit");
    let limit = limit.map_or(Ok(DEFAULT_LIMIT), |limit| parse_limit(&limit))?;
    let listed = Listed {
        hub: &app.hub,
        patterns: caller.listed(),
    };
    let page = listed.page(after.as_ref(), limit).await?;
    let last = page.last().filter(|_| page.len() == limit);
    let next = match last {
        Some(last) if !listed.page(Some(&last.name), 1).await?.is_empty() => {
            Some(last.name.to_string())
        }
        _ => None,
    };
    let channels = page.into_iter().map(Shown::from).collect();
    Ok(fresh(Page { channels, next }))
}

fn parse_limit(text: &str) -> Result<usize, Problem> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let limit = text
        .parse()
        .ok()
        .filter(|limit| is_number && (1..=MAX_LIMIT).contains(limit));
    limit.ok_or_else(|| {
        let detail = format!("`limit` is a number from 1 to {MAX_LIMIT}");
        Problem::invalid("invalid-limit", detail)
    })
}

/// An answer that no cache may keep.
fn fresh(shown: impl Serialize) -> impl IntoResponse {
    ([(CACHE_CONTROL, "no-store")], Json(shown))
}
