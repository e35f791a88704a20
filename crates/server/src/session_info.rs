//! `SessionInfo`: the request of a session, kept as text until it is read, and the end of its lifetime.

use std::sync::OnceLock;

use bytes::BufMut;
use http::request::Parts;
use http::uri::{self, Authority, PathAndQuery, Scheme};
use http::{HeaderName, HeaderValue, Method, Request, Uri, Version};
use tidings_proto::EventId;
use tokio::time::Instant;

/// The largest head of a request that a session keeps: 32 KiB.
pub(crate) const MAX_HEAD_BYTES: usize = 32 * 1024;

/// Marks a sensitive header, before its name. No header name contains a space.
const SENSITIVE: u8 = b' ';

/// The request of a session, its last event ID, and the end of its lifetime.
///
/// A session lasts long, and few handlers read their request after they began. The parsed request of a
/// browser takes about 3 kB. It also consists of slices of the server's read buffer, 8 KiB in hyper,
/// which stays allocated while one slice is held. So only the text of the request is kept.
pub(crate) struct SessionInfo {
    /// One line each: the method, the scheme, the authority, the path, and every header. The line of
    /// a part that the URI does not have is empty.
    text: Box<[u8]>,
    version: Version,
    parsed: OnceLock<Box<Parts>>,
    pub(crate) last_event_id: Option<EventId>,
    pub(crate) ends_at: Option<Instant>,
}

impl SessionInfo {
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

/// The bytes of a request that a session would keep. Those of an HTTP/1 head are more, as each of its
/// lines ends with two bytes.
pub(crate) fn kept_bytes(request: &Parts) -> usize {
    let uri = &request.uri;
    let authority = uri
        .authority()
        .map_or(0, |authority| authority.as_str().len());
    let path = uri.path_and_query().map_or(0, |path| path.as_str().len());
    let scheme = uri.scheme_str().map_or(0, str::len);
    let lines = request.headers.iter().map(|(name, value)| {
        let marks = 2 + usize::from(value.is_sensitive());
        marks + name.as_str().len() + value.len()
    });
    request.method.as_str().len() + 3 + scheme + authority + path + lines.sum::<usize>()
}

fn write(request: &Parts) -> Vec<u8> {
    let mut text = Vec::with_capacity(kept_bytes(request));
    text.put_slice(request.method.as_str().as_bytes());
    let authority = request.uri.authority().map(Authority::as_str);
    let path = request.uri.path_and_query().map(PathAndQuery::as_str);
    for part in [request.uri.scheme_str(), authority, path] {
        text.put_u8(b'\n');
        text.put_slice(part.unwrap_or_default().as_bytes());
    }
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

fn read(text: &[u8], version: Version) -> Parts {
    let (mut request, ()) = Request::new(()).into_parts();
    request.version = version;
    let mut lines = text.split(|byte| *byte == b'\n');
    request.method = reread(lines.next().map(Method::from_bytes));
    let mut parts = uri::Parts::default();
    parts.scheme = optional(lines.next()).map(|scheme| reread(Some(Scheme::try_from(scheme))));
    parts.authority = optional(lines.next()).map(|name| reread(Some(Authority::try_from(name))));
    parts.path_and_query =
        optional(lines.next()).map(|path| reread(Some(PathAndQuery::try_from(path))));
    request.uri = reread(Some(Uri::from_parts(parts)));
    for line in lines {
        let (name, value) = header(line);
        request.headers.append(name, value);
    }
    request
}

fn header(line: &[u8]) -> (HeaderName, HeaderValue) {
    let (line, is_sensitive) = match line.strip_prefix(&[SENSITIVE]) {
        Some(line) => (line, true),
        None => (line, false),
    };
    let mut parts = line.splitn(2, |byte| *byte == b':');
    let name = reread(parts.next().map(HeaderName::from_bytes));
    let mut value = reread(parts.next().map(HeaderValue::from_bytes));
    value.set_sensitive(is_sensitive);
    (name, value)
}

/// The text of a part of the URI; `None` if the URI does not have this part.
fn optional(line: Option<&[u8]>) -> Option<&[u8]> {
    line.filter(|text| !text.is_empty())
}

/// A part of the request that `write` wrote: it was valid, and it contained no line end.
fn reread<T, E>(part: Option<Result<T, E>>) -> T {
    match part {
        Some(Ok(part)) => part,
        _ => unreachable!("the text of a request reads back as that request"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kept request equals the original.
    fn check(request: Request<()>) {
        let (request, ()) = request.into_parts();
        assert_eq!(write(&request).len(), kept_bytes(&request));
        let info = SessionInfo::new(&request, None, None);
        let kept = info.request();
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
    fn method_uri_and_version_read_back() {
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
    fn headers_read_back() {
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
    fn the_read_buffer_of_the_server_is_released() {
        let buffer = bytes::Bytes::from([b"/path".as_slice(), &[b'v'; 8000]].concat());
        let (mut request, ()) = Request::new(()).into_parts();
        request.uri = Uri::from_maybe_shared(buffer.slice(..5)).unwrap();
        let value = HeaderValue::from_maybe_shared(buffer.slice(5..)).unwrap();
        request.headers.append("a", value);
        request.extensions.insert(buffer.clone());
        let info = SessionInfo::new(&request, None, None);
        assert_eq!(info.request().uri, "/path");
        drop(request);
        assert!(buffer.is_unique());
    }
}
