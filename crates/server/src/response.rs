//! The heads of responses: of event streams, and of refusals.

use std::time::Duration;

use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderName, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode, Version};
use tidings_proto::headers::{EVENT_STREAM, NO_STORE, X_ACCEL_BUFFERING};

use crate::SessionBody;

/// A 200 with the headers of an event stream, which no proxy may buffer or store.
pub(crate) fn event_stream<B>(version: Version, body: B) -> Response<B> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(EVENT_STREAM));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(NO_STORE));
    let x_accel_buffering = HeaderName::from_static(X_ACCEL_BUFFERING);
    headers.insert(x_accel_buffering, HeaderValue::from_static("no"));
    // HTTP/2 forbids this header.
    if version <= Version::HTTP_11 {
        headers.insert(CONNECTION, HeaderValue::from_static("keep-alive"));
    }
    response
}

/// A response without a stream. With a time, it has `Retry-After`.
pub(crate) fn no_stream(
    status: StatusCode,
    retry_after: Option<Duration>,
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
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_connection_header_is_sent_on_http_1_only() {
        for (version, expected) in [
            (Version::HTTP_10, Some("keep-alive")),
            (Version::HTTP_11, Some("keep-alive")),
            (Version::HTTP_2, None),
        ] {
            let response = event_stream(version, ());
            let connection = response.headers().get(CONNECTION);
            assert_eq!(
                connection.map(|value| value.to_str().unwrap()),
                expected,
                "{version:?}"
            );
        }
    }
}
