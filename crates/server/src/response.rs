//! The heads of responses: of event streams, and of refusals.

use std::borrow::Cow;
use std::time::Duration;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Response, StatusCode};
use tidings_proto::headers::{
    EVENT_STREAM, INCREMENTAL, NO_STORE, NO_STORE_NO_TRANSFORM, X_ACCEL_BUFFERING,
};

use crate::{SessionBody, StreamResponse};

/// The media type of a refusal's text.
const PLAIN_TEXT: &str = "text/plain; charset=utf-8";

/// A 200 with the headers of an event stream, which no proxy may buffer, transform or store. The
/// connection has no header here: each server knows itself whether it stays open.
pub(crate) fn event_stream(
    is_incremental: bool,
    kind: StreamResponse,
    body: SessionBody,
) -> Response<SessionBody> {
    let mut response = Response::new(body);
    response.extensions_mut().insert(kind);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(EVENT_STREAM));
    let cache_control = HeaderValue::from_static(NO_STORE_NO_TRANSFORM);
    headers.insert(CACHE_CONTROL, cache_control);
    if is_incremental {
        let incremental = HeaderName::from_static(INCREMENTAL);
        headers.insert(incremental, HeaderValue::from_static("?1"));
    }
    let x_accel_buffering = HeaderName::from_static(X_ACCEL_BUFFERING);
    headers.insert(x_accel_buffering, HeaderValue::from_static("no"));
    response
}

/// A response without a stream, with a reason for a person. With a time, it has `Retry-After`.
pub(crate) fn no_stream(
    status: StatusCode,
    retry_after: Option<Duration>,
    text: Option<Cow<'static, str>>,
) -> Response<SessionBody> {
    let mut response = Response::new(SessionBody::empty());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(NO_STORE));
    if let Some(retry_after) = retry_after {
        // Whole seconds, rounded up.
        let seconds = retry_after
            .as_secs()
            .saturating_add(u64::from(retry_after.subsec_nanos() > 0));
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let Some(text) = text {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PLAIN_TEXT));
        // A browser must not take the text for HTML.
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        *response.body_mut() = SessionBody::whole(text.into_owned().into());
    }
    response
}
