//! Owns `SseRequest`: a request for an event stream that is not answered yet.

use http::HeaderMap;
use http::request::Parts;
use tidings_proto::{EventId, headers};

/// A request for an event stream: open it, or answer 401, 404 or 409 instead.
///
/// ```
/// use tidings_proto::Event;
/// use tidings_server::{SessionBody, SseRequest};
///
/// fn events(request: http::Request<()>) -> http::Response<SessionBody> {
///     let (parts, _) = request.into_parts();
///     SseRequest::new(parts).open(async |session| {
///         session.send(Event::new("hello")).await?;
///         Ok(())
///     })
/// }
/// ```
#[derive(Debug)]
pub struct SseRequest {
    parts: Parts,
    last_event_id: Option<EventId>,
}

impl SseRequest {
    /// A request with this head.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self {
            last_event_id: last_event_id(&parts.headers),
            parts,
        }
    }

    /// The head of the request.
    #[must_use]
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// The `Last-Event-ID` that the client sent: the bytes of the header, read as UTF-8. `None`
    /// without one, or if it is empty, or not UTF-8.
    ///
    /// Spec: [the `Last-Event-ID` header](https://html.spec.whatwg.org/multipage/server-sent-events.html#the-last-event-id-header).
    #[must_use]
    pub fn last_event_id(&self) -> Option<&EventId> {
        self.last_event_id.as_ref()
    }
}

fn last_event_id(headers: &HeaderMap) -> Option<EventId> {
    let value = headers.get(headers::LAST_EVENT_ID)?.as_bytes();
    let text = std::str::from_utf8(value)
        .ok()
        .filter(|text| !text.is_empty())?;
    EventId::new(text).ok()
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Request};

    use super::*;

    fn check(header: Option<&[u8]>, expected: Option<&str>) {
        let (mut parts, ()) = Request::new(()).into_parts();
        if let Some(value) = header {
            let value = HeaderValue::from_bytes(value).unwrap();
            parts.headers.insert(headers::LAST_EVENT_ID, value);
        }
        let request = SseRequest::new(parts);
        assert_eq!(request.last_event_id().map(EventId::as_str), expected);
    }

    #[test]
    fn the_last_event_id_is_utf_8() {
        check(None, None);
        check(Some(b""), None);
        check(Some(b"42"), Some("42"));
        check(Some("größe…".as_bytes()), Some("größe…"));
        check(Some(b"\xff"), None);
    }
}
