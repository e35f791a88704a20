//! `/session`: a token becomes a cookie of the page, and is removed from it.

use axum::Extension;
use axum::http::header::{CACHE_CONTROL, SET_COOKIE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{AppendHeaders, IntoResponse};
use tidings::axum::OverTls;

use super::super::problem::Problem;
use super::caller::Caller;
use super::cookie::{self, MAX_COOKIE_TOKEN};
use super::{gate, now};

/// Sets the cookie, until the token expires. Only a token in the header becomes a cookie.
pub(super) async fn open(
    caller: Caller,
    over_tls: Option<Extension<OverTls>>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    let (Some(token), Some(access)) = (gate::bearer(&headers)?, caller.access()) else {
        return Err(gate::missing());
    };
    let bytes = token.len();
    if bytes > MAX_COOKIE_TOKEN {
        let detail =
            format!("a token in a cookie has at most {MAX_COOKIE_TOKEN} bytes, not {bytes}");
        return Err(Problem::invalid("token-too-large", detail));
    }
    let left = access.expires().duration_since(now()).unwrap_or_default();
    let cookie = cookie::set(
        token,
        left.as_secs(),
        cookie::is_secure(&headers, over_tls.is_some()),
    );
    let cookie = cookie.ok_or_else(gate::missing)?;
    let headers = AppendHeaders(cookie.map(|cookie| (SET_COOKIE, cookie)));
    Ok((
        StatusCode::NO_CONTENT,
        [(CACHE_CONTROL, "no-store")],
        headers,
    ))
}

/// Removes the cookie. Everyone may: the guard of origins refuses other pages.
pub(super) async fn close() -> impl IntoResponse {
    let cookies = cookie::clear().map(|cookie| (SET_COOKIE, cookie));
    (StatusCode::NO_CONTENT, AppendHeaders(cookies))
}
