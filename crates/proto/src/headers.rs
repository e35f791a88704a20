//! Names and values of the headers of an event stream, and its media type.

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

/// `Accept`: a client sends [`EVENT_STREAM`].
pub const ACCEPT: &str = "accept";

/// `Cache-Control`: a client sends [`NO_CACHE`], a server [`NO_STORE`].
#[doc(alias = "CacheControl")]
pub const CACHE_CONTROL: &str = "cache-control";

/// `Connection`: a server sends `keep-alive`, on HTTP/1 only.
pub const CONNECTION: &str = "connection";

/// `Content-Type`: a server sends [`EVENT_STREAM`].
pub const CONTENT_TYPE: &str = "content-type";

/// `X-Accel-Buffering`: a server sends `no`, so that nginx and similar proxies forward events at once.
pub const X_ACCEL_BUFFERING: &str = "x-accel-buffering";

/// The `Cache-Control` of a client: exactly this, as in browsers.
pub const NO_CACHE: &str = "no-cache";

/// The `Cache-Control` of a server.
pub const NO_STORE: &str = "no-store";

/// Whether a `Content-Type` is that of an event stream. Case and parameters, such as a charset, do not
/// matter.
///
/// ```
/// use tidings_proto::headers::is_event_stream;
///
/// assert!(is_event_stream("Text/Event-Stream; charset=windows-1252"));
/// assert!(!is_event_stream("text/event-streams"));
/// ```
#[must_use]
pub fn is_event_stream(content_type: &str) -> bool {
    let essence = content_type
        .split_once(';')
        .map_or(content_type, |(essence, _)| essence);
    essence
        .trim_matches([' ', '\t', '\r', '\n'])
        .eq_ignore_ascii_case(EVENT_STREAM)
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
