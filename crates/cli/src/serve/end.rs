//! The end of a channel, with optional last words.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode};
use tidings::Event;
use tidings::hub::{Channel, ChannelStatus, PublishErrorKind};
use tidings::proto::Position;

use super::app::App;
use super::auth::Caller;
use super::body;
use super::name::Name;
use super::problem::Problem;
use super::publish::{Fields, Published};

/// Publishes the body, if there is one, and ends the channel.
pub(super) async fn end(
    State(app): State<App>,
    Name(name): Name,
    caller: Caller,
    request: Request<Body>,
) -> Result<Json<Published>, Problem> {
    caller.check_publish(&name)?;
    let (parts, body) = request.into_parts();
    let fields = Fields::of(&parts)?;
    let words = body::read_text(&app, &parts.headers, body).await?;
    caller.check_valid()?;
    // An event without data can have a name, so the name alone asks for last words too.
    let has_words = !words.is_empty() || fields.name.is_some();
    let words = has_words.then(|| fields.event(words));
    let channel = app.hub.channel(name);
    let channel = channel.map_err(|error| Problem::invalid("invalid-name", error.to_string()))?;
    let words = match channel.state().await?.status {
        ChannelStatus::Unknown => return Err(unknown()),
        ChannelStatus::Open => words,
        // The hub refuses a second end, unless this request repeats the first one under its key.
        ChannelStatus::Ended => None,
    };
    // In a task of its own: a client that disconnects after the last words must not leave the channel open.
    let ended = tokio::spawn(end_with(channel, words, fields)).await;
    let position = ended.map_err(|error| {
        tracing::error!(%error, "a channel was not ended");
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Problem::new(status, "internal", "the server failed; its log says why")
    })??;
    let id = position.to_string();
    Ok(Json(Published { id }))
}

async fn end_with(
    channel: Channel,
    words: Option<Event>,
    fields: Fields,
) -> Result<Position, Problem> {
    let end = fields.with_key(channel.end());
    let Some(words) = words else {
        return Ok(end.await?);
    };
    fields.with_key(channel.publish(words)).await?;
    // The last words are stored, so a failure must not be taken for one that has changed nothing.
    end.await.map_err(|error| match error.kind() {
        PublishErrorKind::Ended => error.into(),
        _ => {
            tracing::warn!(%error, "a channel has its last words and no end");
            Problem::unconfirmed()
        }
    })
}

/// There is no such channel.
pub(super) fn unknown() -> Problem {
    let detail = "the server has no event of this channel";
    Problem::new(StatusCode::NOT_FOUND, "unknown-channel", detail)
}
