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
use crate::tokens::{Access, Auth, InvalidTicket, InvalidToken, TICKET_LIFETIME};

/// Paths that need no token and ignore their query.
const HEALTH: [&str; 2] = ["/healthz", "/readyz"];

/// The parameters in which others send a token.
const TOKEN_PARAMETERS: [&str; 4] = ["token", "access_token", "authorization", "jwt"];

/// Lets a request pass if it needs no token, or has a valid one.
pub(super) async fn check(State(app): State<App>, mut request: Request, next: Next) -> Response {
    if let Some(auth) = &app.auth
        && !HEALTH.contains(&request.uri().path())
    {
        if let Err(problem) = refuse_token_in_url(&request) {
            return problem.into_response();
        }
        if !is_open(&request) {
            match admit(auth, &request) {
                Ok(access) => request.extensions_mut().insert(access),
                Err(problem) => return problem.into_response(),
            };
        }
    }
    next.run(request).await
}

fn is_open(request: &Request) -> bool {
    let path = request.uri().path();
    let signs_out = path == SESSION && request.method() == Method::DELETE;
    page::is_file(path) || signs_out
}

/// Refuses a URL with a token, also at a path that needs none: it is in logs and histories all the same.
fn refuse_token_in_url(request: &Request) -> Result<(), Problem> {
    let query = request.uri().query();
    let mut names = TOKEN_PARAMETERS.into_iter();
    match names.find(|name| query::last(query, name).is_some()) {
        Some(name) => Err(Problem::invalid(
            "token-in-url",
            format!(
                "a URL must not contain a token, because logs and histories keep it: remove `{name}`, and \
                 send the header `Authorization: Bearer`, or use a ticket"
            ),
        )),
        None => Ok(()),
    }
}

/// The rights of the sender of the request.
fn admit(auth: &Auth, request: &Request) -> Result<Arc<Access>, Problem> {
    let is_over_tls = request.extensions().get::<OverTls>().is_some();
    let ticket = query::last(request.uri().query(), "ticket");
    match (bearer(request.headers())?, ticket) {
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

/// The token in the header `Authorization`. Another scheme than Bearer, such as the Basic of a proxy, is not
/// for this server.
pub(super) fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let lines = headers.get_all(AUTHORIZATION).iter();
    let mut tokens = lines.filter_map(|line| after_bearer(line.as_bytes()));
    let Some(token) = tokens.next() else {
        return Ok(None);
    };
    if tokens.next().is_some() {
        let detail = "the request has several headers `Authorization: Bearer`";
        return Err(Problem::invalid("two-credentials", detail));
    }
    let token = str::from_utf8(token).map_err(|_| invalid(&InvalidToken::Malformed))?;
    match token.trim() {
        "" => Err(missing()),
        token => Ok(Some(token)),
    }
}

/// What follows the scheme, if it is Bearer.
fn after_bearer(line: &[u8]) -> Option<&[u8]> {
    let end = line.iter().position(|byte| *byte == b' ');
    let (scheme, rest) = line.split_at(end.unwrap_or(line.len()));
    scheme.eq_ignore_ascii_case(b"Bearer").then_some(rest)
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
        InvalidTicket::TooMany => too_many(),
        _ => refused(error.to_string()),
    }
}

/// The token uses too many tickets at once.
pub(super) fn too_many() -> Problem {
    let detail = InvalidTicket::TooMany.to_string();
    Problem::too_many("too-many-tickets", detail, TICKET_LIFETIME)
}

fn refused(detail: String) -> Problem {
    Problem::unauthorized("invalid-token", detail, "Bearer error=\"invalid_token\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_with_too_many_tickets_is_told_when_it_has_others() {
        let response = of_ticket(InvalidTicket::TooMany).into_response();
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()["retry-after"], "30");
        let response = of_ticket(InvalidTicket::Full).into_response();
        assert_eq!(response.status(), 503);
        assert_eq!(of_ticket(InvalidTicket::Used).status, 401);
    }

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
        for line in ["Bearer", "bearer", "Bearer  "] {
            assert_eq!(parse(&[line]), Err(401), "{line}");
            assert_eq!(parse(&["Basic YTpi", line]), Err(401), "{line}");
        }
        for line in [
            "",
            "Basic YTpi",
            "Basic Bearer",
            "a.b.c",
            "Bearera.b.c",
            "Bearer\ta.b.c",
            " Bearer a.b.c",
        ] {
            assert_eq!(parse(&[line]), Ok(None), "{line}");
            assert_eq!(parse(&[line, "Bearer a"]), Ok(Some("a".into())), "{line}");
        }
        assert_eq!(parse(&["Bearer a", "Bearer b"]), Err(400));
        assert_eq!(parse(&["Bearer a", "Basic b", "bearer"]), Err(400));
    }
}
