//! Owns `Head`: what is known of a session from its request, in little memory until it is asked for.

use std::sync::OnceLock;

use bytes::BufMut;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Uri, Version};
use tidings_proto::EventId;
use tokio::time::Instant;

/// Before the name of a header that is not to be printed. No name begins so.
const SENSITIVE: u8 = b' ';

/// What is known of a session from its request and its options.
///
/// A session lasts long, and few handlers look at their request after they began. A browser's takes
/// some 3 kB parsed, and is made of slices of what the server read, of which not a byte is free while
/// one of them is held: 8 KiB in hyper. So its text is kept.
#[derive(Debug)]
pub(crate) struct Head {
    /// The method, the URI, and each header, a line each.
    text: Box<[u8]>,
    version: Version,
    parsed: OnceLock<Box<Parts>>,
    pub(crate) last_event_id: Option<EventId>,
    pub(crate) ends_at: Option<Instant>,
}

impl Head {
    pub(crate) fn new(
        request: &Parts,
        last_event_id: Option<EventId>,
        ends_at: Option<Instant>,
    ) -> Self {
        Self {
            text: write(request).into(),
            version: request.version,
            parsed: OnceLock::new(),
            last_event_id,
            ends_at,
        }
    }

    /// The request, without its extensions.
    pub(crate) fn request(&self) -> &Parts {
        self.parsed
            .get_or_init(|| Box::new(read(&self.text, self.version)))
    }
}

fn write(request: &Parts) -> Vec<u8> {
    let mut text = Vec::new();
    text.put_slice(request.method.as_str().as_bytes());
    text.put_u8(b'\n');
    text.put_slice(request.uri.to_string().as_bytes());
    for (name, value) in &request.headers {
        text.put_u8(b'\n');
        if value.is_sensitive() {
            text.put_u8(SENSITIVE);
        }
        text.put_slice(name.as_str().as_bytes());
        text.put_u8(b':');
        text.put_slice(value.as_bytes());
    }
    text
}

// Nothing of what was written is malformed, and no line end stands in a part of it.
fn read(text: &[u8], version: Version) -> Parts {
    let (mut request, ()) = Request::new(()).into_parts();
    request.version = version;
    let mut lines = text.split(|byte| *byte == b'\n');
    let method = lines.next().map(Method::from_bytes);
    request.method = method.and_then(Result::ok).unwrap_or_default();
    let uri = lines.next().map(Uri::try_from);
    request.uri = uri.and_then(Result::ok).unwrap_or_default();
    for (name, value) in lines.filter_map(header) {
        request.headers.append(name, value);
    }
    request
}

fn header(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let (line, is_sensitive) = match line.strip_prefix(&[SENSITIVE]) {
        Some(line) => (line, true),
        None => (line, false),
    };
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = HeaderName::from_bytes(&line[..colon]).ok()?;
    let mut value = HeaderValue::from_bytes(&line[colon + 1..]).ok()?;
    value.set_sensitive(is_sensitive);
    Some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is asked for says what the request said.
    fn check(request: Request<()>) {
        let (request, ()) = request.into_parts();
        let head = Head::new(&request, None, None);
        let kept = head.request();
        assert_eq!(kept.method, request.method);
        assert_eq!(kept.uri, request.uri);
        assert_eq!(kept.version, request.version);
        assert_eq!(kept.headers, request.headers);
        let are_sensitive = |parts: &Parts| -> Vec<bool> {
            parts
                .headers
                .values()
                .map(HeaderValue::is_sensitive)
                .collect()
        };
        assert_eq!(are_sensitive(kept), are_sensitive(&request));
    }

    #[test]
    fn a_request_is_kept_as_it_was() {
        check(Request::new(()));
        for uri in [
            "/",
            "*",
            "/a/b?c=d&e=%0A",
            "http://test:81/x",
            "test:443",
            "/größe",
        ] {
            for method in ["GET", "POST", "PURGE", "M-SEARCH"] {
                let uri = Uri::try_from(uri.as_bytes()).unwrap();
                check(Request::builder().method(method).uri(uri).body(()).unwrap());
            }
        }
        check(
            Request::builder()
                .version(Version::HTTP_2)
                .body(())
                .unwrap(),
        );
    }

    #[test]
    fn headers_are_kept_as_they_were() {
        let mut request = Request::new(());
        let every_byte: Vec<u8> = (32..=255)
            .filter(|byte| *byte != 127)
            .chain([b'\t'])
            .collect();
        let mut secret = HeaderValue::from_static("Bearer to:ken");
        secret.set_sensitive(true);
        for (name, value) in [
            ("accept", HeaderValue::from_static("text/event-stream")),
            ("cookie", HeaderValue::from_static("a=b")),
            ("cookie", HeaderValue::from_static(" ")),
            ("cookie", HeaderValue::from_static("")),
            ("authorization", secret),
            (
                "x!#$%&'*+-.^_`|~0",
                HeaderValue::from_bytes(&every_byte).unwrap(),
            ),
            (
                "last-event-id",
                HeaderValue::from_bytes("größe".as_bytes()).unwrap(),
            ),
        ] {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            request.headers_mut().append(name, value);
        }
        check(request);
    }

    #[test]
    fn nothing_holds_what_the_server_read() {
        let buffer = bytes::Bytes::from([b"/path".as_slice(), &[b'v'; 8000]].concat());
        let (mut request, ()) = Request::new(()).into_parts();
        request.uri = Uri::from_maybe_shared(buffer.slice(..5)).unwrap();
        let value = HeaderValue::from_maybe_shared(buffer.slice(5..)).unwrap();
        request.headers.append("a", value);
        request.extensions.insert(buffer.clone());
        let head = Head::new(&request, None, None);
        assert_eq!(head.request().uri, "/path");
        drop(request);
        assert!(buffer.is_unique());
    }
}
