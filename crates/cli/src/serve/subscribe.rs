//! The streams of channels.

use axum::extract::State;
use axum::http::header::VARY;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use tidings::axum::SseRequest;
use tidings::hub::{Pattern, Subscription};

use super::accept::prefers_json;
use super::app::App;
use super::auth::Caller;
use super::channels;
use super::name::{self, Name};
use super::problem::Problem;
use super::query;
use super::start::Start;

/// The stream of one channel, or its state as JSON.
pub(super) async fn to_channel(
    State(app): State<App>,
    Name(name): Name,
    caller: Caller,
    request: SseRequest,
) -> Response {
    let mut response = if let Err(problem) = caller.check_subscribe(&name.clone().into()) {
        problem.into_response()
    } else if prefers_json(&request.parts().headers) {
        channels::state(&app, &name).await.into_response()
    } else {
        let subscription = app.hub.subscribe(&name);
        let answer = answer(&app, &caller, request, subscription);
        answer.await.into_response()
    };
    let accept = HeaderValue::from_static("accept");
    response.headers_mut().append(VARY, accept);
    response
}

/// One stream of several channels. Each ID names the channel of its event.
pub(super) async fn to_channels(
    State(app): State<App>,
    caller: Caller,
    request: SseRequest,
) -> Result<Response, Problem> {
    let patterns = patterns(&app, request.parts().uri.query())?;
    for pattern in &patterns {
        caller.check_subscribe(pattern)?;
    }
    let subscription = app.hub.subscribe_all(patterns).name_channels();
    answer(&app, &caller, request, subscription).await
}

/// The channels and patterns in the query.
pub(super) fn patterns(app: &App, query: Option<&str>) -> Result<Vec<Pattern>, Problem> {
    let max = app.max_channels;
    let names = query::all(query, "channel");
    let patterns = names.map(|text| name::parse_pattern(app, &text));
    // One too many is enough to know that there are too many.
    let mut patterns: Vec<_> = patterns
        .take(max.saturating_add(1))
        .collect::<Result<_, _>>()?;
    if patterns.is_empty() || patterns.len() > max {
        let detail = format!("name 1 to {max} channels, such as `?channel=a&channel=rooms/*`");
        return Err(Problem::invalid("invalid-channels", detail));
    }
    patterns.sort_unstable();
    patterns.dedup();
    Ok(patterns)
}

async fn answer(
    app: &App,
    caller: &Caller,
    request: SseRequest,
    subscription: Subscription,
) -> Result<Response, Problem> {
    let start = Start::parse(request.parts().uri.query());
    // An `EventSource` that reconnects sends its ID with the URL that it was given, so the ID wins.
    let start = match request.last_event_id() {
        Some(_) => start.unwrap_or(Start::Latest),
        None => start?,
    };
    let request = request.options(app.session.clone());
    let subscription = caller.limit(subscription);
    let feed = start.of(subscription, caller.access().cloned());
    let response = request.forward(feed).await;
    if response.status() == StatusCode::FORBIDDEN {
        // Its rights were checked, so the token has lapsed meanwhile.
        caller.check_valid()?;
    }
    Ok(response)
}
