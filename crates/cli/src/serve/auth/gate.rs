//! The gate: finds the token or the ticket of a request, before its body is read.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tidings::axum::OverTls;

use super::super::accept::prefers_json;
use super::super::app::App;
use super::super::problem::Problem;
use super::super::{page, query};
use super::{SESSION, cookie, now};
use crate::tokens::{Access, Auth, InvalidTicket, InvalidToken};

/// Paths that need no token, beside the files of the page.
const OPEN: [&str; 2] = ["/healthz", "/readyz"];

/// The parameters in which others send a token.
const TOKEN_PARAMETERS: [&str; 4] = ["token", "access_token", "authorization", "jwt"];

/// Lets a request pass if it needs no token, or has a valid one.
pub(super) async fn check(State(app): State<App>, mut request: Request, next: Next) -> Response {
    if let Some(auth) = &app.auth
        && !is_open(&request)
    {
        match admit(auth, &request) {
            Ok(access) => request.extensions_mut().insert(access),
            Err(problem) => return problem.into_response(),
        };
    }
    next.run(request).await
}

fn is_open(request: &Request) -> bool {
    let path = request.uri().path();
    let signs_out = path == SESSION && request.method() == Method::DELETE;
    OPEN.contains(&path) || page::is_file(path) || signs_out
}

/// The rights of the sender of the request.
fn admit(auth: &Auth, request: &Request) -> Result<Arc<Access>, Problem> {
    let query = request.uri().query();
    for name in TOKEN_PARAMETERS {
        if query::last(query, name).is_some() {
            let detail = format!(
                "a URL must not contain a token, because logs and histories keep it: remove `{name}`, and \
                 send the header `Authorization: Bearer`, or use a ticket"
            );
            return Err(Problem::invalid("token-in-url", detail));
        }
    }
    let is_over_tls = request.extensions().get::<OverTls>().is_some();
    match (bearer(request.headers())?, query::last(query, "ticket")) {
        (Some(_), Some(_)) => {
            let detail = "the request has a token and a ticket; send one of them";
            Err(Problem::invalid("two-credentials", detail))
        }
        (Some(token), None) => authenticate(auth, token),
        (None, Some(ticket)) => {
            if !is_stream(request) {
                let detail = "a ticket is only for a GET of a stream; send a token";
                return Err(Problem::invalid("misplaced-ticket", detail));
            }
            auth.redeem(&ticket, now()).map_err(of_ticket)
        }
        (None, None) => match cookie::token(request.headers(), is_over_tls) {
            Some(token) => authenticate(auth, token),
            None => Err(missing()),
        },
    }
}

fn authenticate(auth: &Auth, token: &str) -> Result<Arc<Access>, Problem> {
    auth.authenticate(token, now())
        .map_err(|error| invalid(&error))
}

/// The token in the header `Authorization`.
pub(super) fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let Some(line) = lines.next() else {
        return Ok(None);
    };
    if lines.next().is_some() {
        let detail = "the request has several headers Authorization";
        return Err(Problem::invalid("two-credentials", detail));
    }
    let text = line
        .to_str()
        .map_err(|_| invalid(&InvalidToken::Malformed))?;
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("Bearer") => Ok(Some(token.trim())),
        _ => Err(missing()),
    }
}

/// Whether the request opens a stream.
fn is_stream(request: &Request) -> bool {
    let path = request.uri().path();
    let is_stream = path == "/events" || path.starts_with("/channels/");
    is_stream && request.method() == Method::GET && !prefers_json(request.headers())
}

/// The request has no token.
pub(super) fn missing() -> Problem {
    let detail = "the server needs a token, as `Authorization: Bearer TOKEN`";
    Problem::unauthorized("missing-token", detail, "Bearer")
}

pub(super) fn invalid(error: &InvalidToken) -> Problem {
    refused(error.to_string())
}

fn of_ticket(error: InvalidTicket) -> Problem {
    match error {
        InvalidTicket::Full => Problem::unavailable(error.to_string()),
        _ => refused(error.to_string()),
    }
}

fn refused(detail: String) -> Problem {
    Problem::unauthorized("invalid-token", detail, "Bearer error=\"invalid_token\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_the_scheme_bearer() {
        let parse = |lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(AUTHORIZATION, line.parse().unwrap());
            }
            let token = bearer(&headers);
            token
                .map(|token| token.map(str::to_owned))
                .map_err(|problem| problem.status)
        };
        assert_eq!(parse(&[]), Ok(None));
        for line in ["Bearer a.b.c", "bearer a.b.c", "BEARER  a.b.c "] {
            assert_eq!(parse(&[line]), Ok(Some("a.b.c".into())), "{line}");
        }
        for line in [
            "",
            "Bearer",
            "Basic YTpi",
            "a.b.c",
            "Bearera.b.c",
            "Bearer\ta.b.c",
        ] {
            assert_eq!(parse(&[line]), Err(401), "{line}");
        }
        assert_eq!(parse(&["Bearer a", "Bearer b"]), Err(400));
    }
}
