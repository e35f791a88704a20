//! `SseRequest`: a request for an event stream, before it is answered.

use std::borrow::Cow;
use std::fmt;

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
pub struct SseRequest {
    pub(crate) parts: Parts,
    pub(crate) last_event_id: Option<EventId>,
    pub(crate) options: SessionOptions,
}

/// The query parameter that replaces the header in the first request of an `EventSource`, which
/// cannot set headers. Its name in lower case, without `-` and `_`: pages and polyfills spell it as
/// `last_event_id`, `lastEventId` or `Last-Event-ID`.
const LAST_EVENT_ID_PARAMETER: &str = "lasteventid";

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

    /// The last event ID that the client sent: the `Last-Event-ID` header. Without that header, the
    /// query parameter `last_event_id`, whose name may also be written as `lastEventId` or
    /// `Last-Event-ID`.
    ///
    /// A page sets the parameter, because an `EventSource` cannot set headers in its first request.
    /// When it reconnects, it sends the header, which is newer, so the header wins. Of several lines of
    /// the header, or several parameters, the last counts. An empty one counts as absent.
    ///
    /// No ID that a client sent is discarded. Bytes that are not UTF-8, and characters that an
    /// [`EventId`] cannot contain, are replaced by U+FFFD. So a handler sees an ID that it does not
    /// know, and not a client that never received an event.
    ///
    /// Spec: [the `Last-Event-ID` header](https://html.spec.whatwg.org/multipage/server-sent-events.html#the-last-event-id-header).
    #[must_use]
    pub fn last_event_id(&self) -> Option<&EventId> {
        self.last_event_id.as_ref()
    }
}

// Shows neither the query nor the headers: both may hold secrets.
impl fmt::Debug for SseRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SseRequest")
            .field("method", &self.parts.method)
            .field("path", &self.parts.uri.path())
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

fn last_event_id(request: &Parts) -> Option<EventId> {
    let lines = request.headers.get_all(headers::LAST_EVENT_ID);
    let line = lines.iter().rfind(|line| !line.is_empty());
    match line {
        Some(line) => Some(readable(&String::from_utf8_lossy(line.as_bytes()))),
        None => query_parameter(request.uri.query()?).map(|id| readable(&id)),
    }
}

fn query_parameter(query: &str) -> Option<Cow<'_, str>> {
    form_urlencoded::parse(query.as_bytes())
        .filter(|(name, value)| is_last_event_id(name) && !value.is_empty())
        .map(|(_, value)| value)
        .last()
}

fn is_last_event_id(name: &str) -> bool {
    name.chars()
        .filter(|char| !matches!(char, '-' | '_'))
        .map(|char| char.to_ascii_lowercase())
        .eq(LAST_EVENT_ID_PARAMETER.chars())
}

/// The ID with this text. Characters that no ID contains are replaced.
fn readable(text: &str) -> EventId {
    let replaced = || text.replace(['\0', '\r', '\n'], "\u{fffd}");
    match EventId::new(text).or_else(|_| EventId::new(replaced())) {
        Ok(id) => id,
        Err(_) => unreachable!("an ID contains every character except NUL, CR and LF"),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Request};

    use super::*;

    /// A request with these lines of `Last-Event-ID` and this target has this last event ID.
    fn check(lines: &[&[u8]], target: &str, expected: Option<&str>) {
        let (mut parts, ()) = Request::get(target).body(()).unwrap().into_parts();
        for line in lines {
            let value = HeaderValue::from_bytes(line).unwrap();
            parts.headers.append(headers::LAST_EVENT_ID, value);
        }
        let request = SseRequest::new(parts);
        let id = request.last_event_id().map(EventId::as_str);
        assert_eq!(id, expected, "{lines:?}, {target}");
    }

    #[test]
    fn the_header_is_read_lossily_and_its_last_line_that_is_not_empty_counts() {
        check(&[], "/", None);
        check(&[b""], "/", None);
        check(&[b"42"], "/", Some("42"));
        check(&["größe…".as_bytes()], "/", Some("größe…"));
        check(&[b"a\tb"], "/", Some("a\tb"));
        check(&[b"a\xff"], "/", Some("a\u{fffd}"));
        check(&[b"\xff"], "/", Some("\u{fffd}"));
        check(&[b"1", b"2"], "/", Some("2"));
        check(&[b"1", b""], "/", Some("1"));
        check(&[b"", b"1", b"\xff", b""], "/", Some("\u{fffd}"));
        check(&[b"1, 2"], "/", Some("1, 2"));
    }

    #[test]
    fn without_an_id_in_the_header_the_query_gives_it() {
        check(&[], "/?last_event_id=42", Some("42"));
        check(&[], "/?a=b&last_event_id=a+b%C3%A9&c", Some("a bé"));
        check(&[], "/?last_event_id=", None);
        check(&[], "/?last_event_id", None);
        check(&[], "/?last_event_ids=42", None);
        check(&[b"43"], "/?last_event_id=42", Some("43"));
        check(&[b"\xff"], "/?last_event_id=42", Some("\u{fffd}"));
        check(&[b""], "/?last_event_id=42", Some("42"));
        check(&[b"", b""], "/?last_event_id=42", Some("42"));
    }

    #[test]
    fn the_parameter_has_the_names_that_polyfills_use() {
        for name in [
            "last_event_id",
            "lastEventId",
            "Last-Event-ID",
            "last-event-id",
            "LAST_EVENT_ID",
            "lasteventid",
            "last%5Fevent%5Fid",
        ] {
            check(&[], &format!("/?{name}=42"), Some("42"));
            check(&[], &format!("/?a&{name}=4%202&b=1"), Some("4 2"));
        }
        for name in [
            "last_event",
            "xlastEventId",
            "lastEventId2",
            "last.event.id",
            "",
        ] {
            check(&[], &format!("/?{name}=42"), None);
        }
    }

    #[test]
    fn the_last_parameter_that_is_not_empty_counts() {
        check(&[], "/?last_event_id=1&lastEventId=2", Some("2"));
        check(&[], "/?lastEventId=1&lastEventId=2&x=3", Some("2"));
        check(&[], "/?lastEventId=2&last_event_id=1", Some("1"));
        check(&[], "/?lastEventId=2&last_event_id=", Some("2"));
        check(&[], "/?last_event_id=&lastEventId=2", Some("2"));
    }

    #[test]
    fn a_character_that_no_id_contains_is_replaced() {
        check(&[], "/?last_event_id=a%0Ab", Some("a\u{fffd}b"));
        check(&[], "/?last_event_id=a%0D%0Ab", Some("a\u{fffd}\u{fffd}b"));
        check(&[], "/?last_event_id=%00", Some("\u{fffd}"));
        check(&[], "/?last_event_id=a%FF", Some("a\u{fffd}"));
        check(&[], "/?last_event_id=%FF", Some("\u{fffd}"));
    }
}
