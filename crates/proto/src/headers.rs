//! Names and values of the headers of an event stream.

use crate::StreamTypes;
pub use crate::content_coding::content_codings;
pub use crate::media_type::media_type;

/// The media type of an event stream, without parameters.
///
/// Spec: [registration](https://html.spec.whatwg.org/multipage/iana.html#text/event-stream).
#[doc(alias = "ContentType.Text.EventStream")]
#[doc(alias = "EventStream")]
pub const EVENT_STREAM: &str = "text/event-stream";

/// `Last-Event-ID`: a client that reconnects sends the ID to resume after.
///
/// Spec: [the header](https://html.spec.whatwg.org/multipage/server-sent-events.html#the-last-event-id-header).
#[doc(alias = "SSEHeaders")]
#[doc(alias = "LastEventId")]
pub const LAST_EVENT_ID: &str = "last-event-id";

/// `Accept`: a client sends [`EVENT_STREAM`], unless the caller sets another value.
pub const ACCEPT: &str = "accept";

/// `Cache-Control`: a client sends [`NO_CACHE`], a server [`NO_STORE_NO_TRANSFORM`].
#[doc(alias = "CacheControl")]
pub const CACHE_CONTROL: &str = "cache-control";

/// `Content-Type`: a server sends [`EVENT_STREAM`].
pub const CONTENT_TYPE: &str = "content-type";

/// `Incremental`: a server sends `?1`, which asks each proxy to forward the stream as it arrives.
///
/// Spec: [RFC 10036](https://www.rfc-editor.org/rfc/rfc10036).
pub const INCREMENTAL: &str = "incremental";

/// `X-Accel-Buffering`: a server sends `no`, so that nginx and similar proxies forward events at once.
pub const X_ACCEL_BUFFERING: &str = "x-accel-buffering";

/// The `Cache-Control` of a client: exactly this, as in browsers, unless the caller sets another.
pub const NO_CACHE: &str = "no-cache";

/// The `Cache-Control` of a stream. Caches do not store it, and middlewares that compress responses
/// leave it alone: many of them would hold events back.
pub const NO_STORE_NO_TRANSFORM: &str = "no-store, no-transform";

/// The `Cache-Control` of a server's answer without a stream.
pub const NO_STORE: &str = "no-store";

/// Whether a `Content-Type` is that of an event stream: whether its [`media_type`] is
/// `text/event-stream`, in any case.
///
/// ```
/// use tidings_proto::headers::is_event_stream;
///
/// assert!(is_event_stream("Text/Event-Stream; charset=windows-1252"));
/// assert!(!is_event_stream("text/event-streams"));
/// ```
#[must_use]
pub fn is_event_stream(content_type: &str) -> bool {
    StreamTypes::new().include(Some(content_type))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_parameters_do_not_matter() {
        for content_type in [
            "text/event-stream",
            "TEXT/EVENT-STREAM",
            "text/event-stream;",
            "text/event-stream;charset=UTF-8",
            " text/event-stream ; charset=latin1; x=\"a;b\"",
            "text/plain, text/event-stream",
        ] {
            assert!(is_event_stream(content_type), "{content_type:?}");
        }
        for content_type in [
            "",
            "text/plain",
            "text/event-stream+json",
            "text/event-stream, text/plain",
            "x;text/event-stream",
        ] {
            assert!(!is_event_stream(content_type), "{content_type:?}");
        }
    }
}
