//! `Name`: the channel in the path of a request, and the names in its query or body.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use tidings::hub::{ChannelName, Pattern};

use super::app::App;
use super::problem::Problem;

/// The channel that the path names. `%2F` in it is the same as `/`.
#[derive(Debug)]
pub(super) struct Name(pub(super) ChannelName);

impl FromRequestParts<App> for Name {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, app).await;
        let Path(text) = path.map_err(|error| invalid(error.body_text()))?;
        parse(app, &text).map(Self)
    }
}

/// The channel of this name.
pub(super) fn parse(app: &App, text: &str) -> Result<ChannelName, Problem> {
    check_length(app, text)?;
    ChannelName::new(text).map_err(|error| invalid(error.to_string()))
}

/// The channels of this name or pattern.
pub(super) fn parse_pattern(app: &App, text: &str) -> Result<Pattern, Problem> {
    check_length(app, text)?;
    Pattern::new(text).map_err(|error| invalid(error.to_string()))
}

fn check_length(app: &App, text: &str) -> Result<(), Problem> {
    let (bytes, max) = (text.len(), app.max_name);
    if bytes > max {
        let detail = format!("a channel name has at most {max} bytes, not {bytes}");
        return Err(invalid(detail));
    }
    Ok(())
}

fn invalid(detail: impl Into<String>) -> Problem {
    Problem::invalid("invalid-name", detail)
}
