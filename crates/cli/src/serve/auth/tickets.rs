//! `/tickets`: the holder of a token gets a ticket for the URL of one stream.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use axum::http::header::CACHE_CONTROL;
use axum::response::IntoResponse;
use serde::Serialize;

use super::super::app::App;
use super::super::problem::Problem;
use super::super::subscribe;
use super::caller::{Caller, not_subscribed};
use super::{gate, now};
use crate::tokens::{NoTicket, TICKET_LIFETIME};

/// The answer.
#[derive(Serialize)]
struct Issued {
    ticket: String,
    /// In seconds.
    expires_in: u64,
}

/// Makes a ticket for the channels in the query.
pub(super) async fn issue(
    State(app): State<App>,
    caller: Caller,
    uri: Uri,
) -> Result<impl IntoResponse, Problem> {
    let (Some(auth), Some(access)) = (&app.auth, caller.access()) else {
        return Err(gate::missing());
    };
    let channels = subscribe::patterns(&app, uri.query())?;
    let ticket = auth.issue_ticket(access, channels, now());
    let ticket = ticket.map_err(|error| match error {
        NoTicket::Invalid(error) => gate::invalid(&error),
        NoTicket::TooMany => gate::too_many(),
        NoTicket::NotGranted(pattern) => not_subscribed(&pattern),
        NoTicket::TooLong => {
            let detail = "the names are too long for a URL; use fewer channels, or patterns";
            Problem::invalid("invalid-channels", detail)
        }
    })?;
    let expires_in = TICKET_LIFETIME.as_secs();
    Ok((
        [(CACHE_CONTROL, "no-store")],
        Json(Issued { ticket, expires_in }),
    ))
}
