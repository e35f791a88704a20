//! `Problem`: an error as a problem document (RFC 9457).

use std::error::Error;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::body::to_bytes;
use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::header::{
    CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tidings::hub::{LogError, LogErrorKind, PublishError, PublishErrorKind};
use tidings::store::{StoreError, StoreErrorKind};
use tokio::time::Instant;

/// The media type of a problem document.
const PROBLEM_JSON: &str = "application/problem+json";

/// After how many seconds a client may repeat a request that the server cannot answer now.
const RETRY_SECONDS: u32 = 1;

/// The same for a full disk, which a person must free.
const RETRY_SECONDS_WHEN_FULL: u32 = 10;

/// How long the log is silent after the warning of a failure.
const WARNING_PAUSE: Duration = Duration::from_secs(1);

/// The most text of another response that becomes the detail of a problem, in bytes.
const MAX_DETAIL_BYTES: usize = 4 * 1024;

/// An error as a client receives it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Problem {
    pub(super) status: u16,
    /// The reason phrase of the status.
    pub(super) title: &'static str,
    /// What a program distinguishes, such as `channel-ended`.
    pub(super) code: &'static str,
    /// What a person reads.
    pub(super) detail: String,
    /// The header `Retry-After`, in seconds.
    #[serde(skip)]
    retry_after: Option<u32>,
    /// The header `WWW-Authenticate`.
    #[serde(skip)]
    challenge: Option<&'static str>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status: status.as_u16(),
            title: status.canonical_reason().unwrap_or("Error"),
            code,
            detail: detail.into(),
            retry_after: None,
            challenge: None,
        }
    }

    /// A request that must change.
    pub(super) fn invalid(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// A request without a valid token.
    pub(super) fn unauthorized(
        code: &'static str,
        detail: impl Into<String>,
        challenge: &'static str,
    ) -> Self {
        let problem = Self::new(StatusCode::UNAUTHORIZED, code, detail);
        Self {
            challenge: Some(challenge),
            ..problem
        }
    }

    /// A request that its token does not allow.
    pub(super) fn not_granted(detail: impl Into<String>) -> Self {
        let problem = Self::new(StatusCode::FORBIDDEN, "insufficient-scope", detail);
        Self {
            challenge: Some("Bearer error=\"insufficient_scope\""),
            ..problem
        }
    }

    /// A body, or an event, that is larger than the server accepts.
    pub(super) fn too_large(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail)
    }

    /// The problem of one line of a batch, counted from 1.
    pub(super) fn of_line(mut self, number: usize) -> Self {
        self.detail = format!("event {number} of the batch: {}", self.detail);
        self
    }

    /// Tells the client to repeat the request after so many seconds.
    fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// The client must do less, and may repeat the request after this time.
    pub(super) fn too_many(code: &'static str, detail: impl Into<String>, after: Duration) -> Self {
        let seconds = u32::try_from(after.as_secs()).unwrap_or(u32::MAX);
        Self::new(StatusCode::TOO_MANY_REQUESTS, code, detail).retry_after(seconds)
    }

    /// The server cannot do it now, and has not done it.
    pub(super) fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail).retry_after(RETRY_SECONDS)
    }

    /// The event may be stored or not.
    pub(super) fn unconfirmed() -> Self {
        let detail = "the event may have been stored or not; repeat it with the same key";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unconfirmed", detail).retry_after(RETRY_SECONDS)
    }
}

/// Every failure of a publication, or of an end, and its status.
impl From<PublishError> for Problem {
    fn from(error: PublishError) -> Self {
        let text = || error.to_string();
        match error.kind() {
            PublishErrorKind::InvalidChannelName => Self::invalid("invalid-name", chain(&error)),
            PublishErrorKind::InvalidKey => Self::invalid("invalid-key", text()),
            PublishErrorKind::NoData => Self::invalid("no-data", text()),
            PublishErrorKind::ReservedName => Self::invalid("reserved-name", text()),
            PublishErrorKind::TooLarge => Self::too_large(text()),
            PublishErrorKind::Ended => Self::new(
                StatusCode::CONFLICT,
                "channel-ended",
                "the channel has ended",
            ),
            PublishErrorKind::Draining => Self::unavailable("the server is shutting down"),
            PublishErrorKind::Unconfirmed => {
                warn(&error, "an event is not confirmed");
                Self::unconfirmed()
            }
            PublishErrorKind::Log => {
                warn(&error, "an event is not stored");
                of_failed_append(&error)
            }
            // A kind of which this version knows nothing, and a hub without a runtime, which this program
            // never has.
            PublishErrorKind::NoRuntime | _ => {
                tracing::error!(error = chain(&error), "an event is not published");
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                Self::new(status, "internal", "the server failed; its log says why")
            }
        }
    }
}

/// The log failed to answer a question.
impl From<LogError> for Problem {
    fn from(error: LogError) -> Self {
        warn(&error, "the events cannot be read");
        Self::unavailable("the events cannot be read now")
    }
}

/// Logs a failure, at most once a second: while a disk fails, each of many publications does.
fn warn(error: &(dyn Error + 'static), what: &str) {
    static LAST: Mutex<Option<Instant>> = Mutex::new(None);
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if last.is_none_or(|last| last.elapsed() >= WARNING_PAUSE) {
        *last = Some(Instant::now());
        drop(last);
        tracing::warn!(error = chain(error), "{what}");
    }
}

fn of_failed_append(error: &PublishError) -> Problem {
    let log = causes(error).find_map(|cause| cause.downcast_ref::<LogError>());
    match log.map(LogError::kind) {
        Some(LogErrorKind::Refused) if causes(error).any(is_full) => {
            let status = StatusCode::INSUFFICIENT_STORAGE;
            let full = Problem::new(status, "full", "the disk of the server is full");
            full.retry_after(RETRY_SECONDS_WHEN_FULL)
        }
        Some(LogErrorKind::Refused | LogErrorKind::Silent) => {
            Problem::unavailable("the event was not stored; repeat it later")
        }
        _ => Problem::unconfirmed(),
    }
}

fn is_full(cause: &(dyn Error + 'static)) -> bool {
    let store = cause.downcast_ref::<StoreError>();
    store.is_some_and(|error| *error.kind() == StoreErrorKind::Full)
}

/// The causes of an error, the nearest first.
pub(super) fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(error.source(), |cause: &&'a (dyn Error + 'static)| {
        (**cause).source()
    })
}

/// An error and its causes on one line.
fn chain(error: &(dyn Error + 'static)) -> String {
    causes(error).fold(error.to_string(), |chain, cause| {
        format!("{chain}: {cause}")
    })
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status);
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let (retry_after, challenge) = (self.retry_after, self.challenge);
        let headers = [
            (CONTENT_TYPE, PROBLEM_JSON),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ];
        let mut response = (status, headers, Json(self)).into_response();
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        if let Some(challenge) = challenge {
            let challenge = HeaderValue::from_static(challenge);
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

/// Turns the error of a route that knows no problem documents into one, with the same headers.
pub(super) async fn from_response(response: Response) -> Response {
    let status = response.status();
    let kind = response.headers().get(CONTENT_TYPE);
    let is_problem = kind.is_some_and(|kind| kind == PROBLEM_JSON);
    if is_problem || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    // A longer text, which no route has, is replaced.
    let text = to_bytes(body, MAX_DETAIL_BYTES).await.unwrap_or_default();
    let (code, detail) = meaning(status);
    let detail = match String::from_utf8_lossy(&text).trim() {
        "" => detail.to_owned(),
        text => text.to_owned(),
    };
    let problem = Problem::new(status, code, detail).into_response();
    let (known, body) = problem.into_parts();
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.extend(known.headers);
    Response::from_parts(parts, body)
}

/// The code of an error of which only the status is known, and a detail in case it has no text.
fn meaning(status: StatusCode) -> (&'static str, &'static str) {
    match status {
        StatusCode::BAD_REQUEST => ("invalid-request", "the request is not valid"),
        StatusCode::FORBIDDEN => ("forbidden", "the request is not allowed"),
        StatusCode::NOT_FOUND => ("not-found", "the server has nothing at this path"),
        StatusCode::METHOD_NOT_ALLOWED => (
            "method-not-allowed",
            "the path does not accept this method; the header Allow lists those that it does",
        ),
        StatusCode::NOT_ACCEPTABLE => (
            "not-acceptable",
            "the server has no media type that the client accepts",
        ),
        StatusCode::REQUEST_TIMEOUT => ("timeout", "the request took too long"),
        StatusCode::PAYLOAD_TOO_LARGE => ("too-large", "the request is too large"),
        StatusCode::TOO_MANY_REQUESTS => (
            "too-many-requests",
            "the client has too many requests or connections",
        ),
        StatusCode::SERVICE_UNAVAILABLE => ("unavailable", "the server is not available now"),
        status if status.is_client_error() => ("invalid-request", "the request is not valid"),
        _ => ("internal", "the server failed; its log says why"),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use tidings::hub::{Event, Hub};

    use super::*;

    fn text(response: Response) -> String {
        let body = to_bytes(response.into_body(), 10_000);
        let bytes = futures_util::FutureExt::now_or_never(body)
            .unwrap()
            .unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn an_error_without_a_document_keeps_its_text_and_its_headers() {
        let plain = Response::builder()
            .status(503)
            .header(RETRY_AFTER, "7")
            .header(CONTENT_TYPE, "text/plain; charset=utf-8")
            .header(CONTENT_LENGTH, "4")
            .body(Body::from("busy"))
            .unwrap();
        let problem = from_response(plain).await;
        assert_eq!(problem.headers()[RETRY_AFTER], "7");
        assert_eq!(problem.headers()[CONTENT_TYPE], PROBLEM_JSON);
        assert!(!problem.headers().contains_key(CONTENT_LENGTH));
        assert_eq!(problem.headers().get_all(CONTENT_TYPE).iter().count(), 1);
        let expected =
            r#"{"status":503,"title":"Service Unavailable","code":"unavailable","detail":"busy"}"#;
        assert_eq!(text(problem), expected);
    }

    #[tokio::test]
    async fn problems_and_successes_stay_as_they_are() {
        let problem = Problem::invalid("invalid-name", "a \"name\"\n").into_response();
        let expected =
            r#"{"status":400,"title":"Bad Request","code":"invalid-name","detail":"a \"name\"\n"}"#;
        assert_eq!(text(from_response(problem).await), expected);
        let success = Response::new(Body::from("ok"));
        assert_eq!(text(from_response(success).await), "ok");
    }

    #[tokio::test]
    async fn each_refusal_of_the_hub_has_a_code() {
        let hub = Hub::in_memory();
        let problem = |error: PublishError| {
            let problem = Problem::from(error);
            (problem.status, problem.code, problem.retry_after)
        };
        let refused = hub.publish("a//b", Event::new("x")).await.unwrap_err();
        assert_eq!(problem(refused), (400, "invalid-name", None));
        let refused = hub.publish("a", Event::new("x")).key("").await.unwrap_err();
        assert_eq!(problem(refused), (400, "invalid-key", None));
        let refused = hub.publish("a", Event::comment("x")).await.unwrap_err();
        assert_eq!(problem(refused), (400, "no-data", None));
        let large = Event::new("x".repeat(2 << 20));
        let refused = hub.publish("a", large).await.unwrap_err();
        assert_eq!(problem(refused), (413, "too-large", None));
        hub.channel("a").unwrap().end().await.unwrap();
        let refused = hub.publish("a", Event::new("x")).await.unwrap_err();
        assert_eq!(problem(refused), (409, "channel-ended", None));
        hub.drain().await;
        let refused = hub.publish("a", Event::new("x")).await.unwrap_err();
        assert_eq!(problem(refused), (503, "unavailable", Some(1)));
    }
}
