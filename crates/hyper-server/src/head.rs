//! The head of a stream, byte for byte as hyper writes it.

use http::header::{CONNECTION, DATE, Entry};
use http::{HeaderMap, HeaderValue};

use crate::date;
use crate::terms::{HttpVersion, Terms, has_connection_option};

/// Appends the head of a stream. Returns whether the connection stays open after the stream, as far as the
/// head decides.
///
/// `keeps_alive` tells whether the client and the server want to keep the connection.
pub(crate) fn append(
    head: &mut Vec<u8>,
    mut headers: HeaderMap,
    terms: Terms,
    keeps_alive: bool,
) -> bool {
    describe_connection(&mut headers, terms.version, keeps_alive);
    head.extend_from_slice(match terms.version {
        HttpVersion::Http10 => b"HTTP/1.0 200 OK\r\n",
        HttpVersion::Http11 => b"HTTP/1.1 200 OK\r\n",
    });
    append_headers(head, &headers);
    if terms.version == HttpVersion::Http11 {
        head.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    if !headers.contains_key(DATE) {
        head.extend_from_slice(b"date: ");
        date::append_now(head);
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    // A stream over HTTP/1.0 ends with its connection, whatever its head says.
    keeps_alive && terms.version == HttpVersion::Http11 && !has_connection_option(&headers, "close")
}

/// Adds what hyper adds to the `Connection` header of the service.
fn describe_connection(headers: &mut HeaderMap, version: HttpVersion, keeps_alive: bool) {
    let option = match (version, keeps_alive) {
        (HttpVersion::Http10, true) => "keep-alive",
        (HttpVersion::Http11, false) => "close",
        (HttpVersion::Http10, false) | (HttpVersion::Http11, true) => return,
    };
    if has_connection_option(headers, option) {
        return;
    }
    let option = HeaderValue::from_static(option);
    match headers.entry(CONNECTION) {
        Entry::Occupied(mut options) => options.append(option),
        Entry::Vacant(options) => {
            options.insert(option);
        }
    }
}

/// Each value has a line of its own, except that `Connection` is one line.
fn append_headers(head: &mut Vec<u8>, headers: &HeaderMap) {
    for name in headers.keys() {
        let mut values = headers.get_all(name).iter();
        if *name == CONNECTION {
            let first = values.next().map_or(&[][..], HeaderValue::as_bytes);
            append_line(head, name.as_str(), first, values);
            continue;
        }
        for value in values {
            append_line(head, name.as_str(), value.as_bytes(), []);
        }
    }
}

fn append_line<'v>(
    head: &mut Vec<u8>,
    name: &str,
    value: &[u8],
    more: impl IntoIterator<Item = &'v HeaderValue>,
) {
    head.extend_from_slice(name.as_bytes());
    head.extend_from_slice(b": ");
    head.extend_from_slice(value);
    for value in more {
        head.extend_from_slice(b", ");
        head.extend_from_slice(value.as_bytes());
    }
    head.extend_from_slice(b"\r\n");
}
