//! `SseRequest`: a request for an event stream, before it is answered.

use http::request::Parts;
use tidings_proto::{EventId, headers};

use crate::SessionOptions;

/// A request for an event stream, before it is answered. Open it, or answer 401, 404 or 409 instead.
///
/// ```
/// use tidings_server::{Event, SessionBody, SseRequest};
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
    pub(crate) parts: Parts,
    pub(crate) last_event_id: Option<EventId>,
    pub(crate) options: SessionOptions,
}

/// The query parameter that replaces the header in the first request of an `EventSource`, which
/// cannot set headers.
const LAST_EVENT_ID_PARAMETER: &str = "last_event_id";

impl SseRequest {
    /// A request with this head.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self {
            last_event_id: last_event_id(&parts),
            options: SessionOptions::default(),
            parts,
        }
    }

    /// Sets the options of this session.
    #[must_use]
    pub fn options(mut self, options: SessionOptions) -> Self {
        self.options = options;
        self
    }

    /// The head of the request.
    #[must_use]
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// The last event ID that the client sent: the `Last-Event-ID` header, read as UTF-8. Without that
    /// header, the parameter `last_event_id` of the URL.
    ///
    /// A page sets the parameter, because an `EventSource` cannot set headers in its first request.
    /// When it reconnects, it sends the header, which is newer, so the header wins. `None` if the ID is
    /// empty, not UTF-8, or no valid [`EventId`].
    ///
    /// Spec: [the `Last-Event-ID` header](https://html.spec.whatwg.org/multipage/server-sent-events.html#the-last-event-id-header).
    #[must_use]
    pub fn last_event_id(&self) -> Option<&EventId> {
        self.last_event_id.as_ref()
    }
}

fn last_event_id(request: &Parts) -> Option<EventId> {
    let id = match request.headers.get(headers::LAST_EVENT_ID) {
        Some(value) => String::from_utf8(value.as_bytes().into()).ok()?,
        None => query_parameter(request.uri.query()?)?,
    };
    EventId::new(id).ok().filter(|id| !id.is_empty())
}

fn query_parameter(query: &str) -> Option<String> {
    form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| name == LAST_EVENT_ID_PARAMETER)
        .map(|(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Request};

    use super::*;

    fn check(header: Option<&[u8]>, url: &str, expected: Option<&str>) {
        let (mut parts, ()) = Request::get(url).body(()).unwrap().into_parts();
        if let Some(value) = header {
            let value = HeaderValue::from_bytes(value).unwrap();
            parts.headers.insert(headers::LAST_EVENT_ID, value);
        }
        let request = SseRequest::new(parts);
        let id = request.last_event_id().map(EventId::as_str);
        assert_eq!(id, expected, "{header:?}, {url}");
    }

    #[test]
    fn the_last_event_id_is_utf_8() {
        check(None, "/", None);
        check(Some(b""), "/", None);
        check(Some(b"42"), "/", Some("42"));
        check(Some("größe…".as_bytes()), "/", Some("größe…"));
        check(Some(b"\xff"), "/", None);
    }

    #[test]
    fn without_a_header_the_url_gives_the_last_event_id() {
        check(None, "/?last_event_id=42", Some("42"));
        check(None, "/?a=b&last_event_id=a+b%C3%A9&c", Some("a bé"));
        check(None, "/?last_event_id=", None);
        check(None, "/?last_event_id=a%0Ab", None);
        check(None, "/?last_event_ids=42", None);
        check(Some(b"43"), "/?last_event_id=42", Some("43"));
        check(Some(b"\xff"), "/?last_event_id=42", None);
    }
}
