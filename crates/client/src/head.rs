//! The values of a response head: several header lines as one, and the target of a redirect.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::fmt::Write as _;

use http::header::{HeaderName, LOCATION};
use http::response::Parts;

/// The value of a header, with several lines joined by `, `.
///
/// Spec: [get](https://fetch.spec.whatwg.org/#concept-header-list-get).
pub(crate) fn joined(head: &Parts, name: HeaderName) -> Option<Cow<'_, str>> {
    let lines = head.headers.get_all(name).into_iter();
    let lines = lines.map(|line| String::from_utf8_lossy(line.as_bytes()));
    lines.reduce(|joined, line| joined + ", " + line)
}

/// The target of a redirect, with each byte that is not ASCII percent-encoded as it is. Empty lines
/// are ignored, as in browsers.
///
/// # Errors
/// Several lines name different targets.
pub(crate) fn location(head: &Parts) -> Result<Option<String>, SeveralLocations> {
    let lines = head.headers.get_all(LOCATION).into_iter();
    let lines = lines.map(|line| line.as_bytes().trim_ascii());
    let mut lines = lines.filter(|line| !line.is_empty());
    let Some(first) = lines.next() else {
        return Ok(None);
    };
    if lines.any(|line| line != first) {
        return Err(SeveralLocations);
    }
    let mut location = String::with_capacity(first.len());
    for &byte in first {
        if byte.is_ascii() {
            location.push(byte.into());
        } else if write!(location, "%{byte:02X}").is_err() {
            unreachable!("a string takes any text");
        }
    }
    Ok(Some(location))
}

/// The error for a redirect to more than one target. Browsers refuse it too: it is a sign of an
/// injected header.
#[derive(Debug)]
pub(crate) struct SeveralLocations;

impl fmt::Display for SeveralLocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the redirect has several Location headers")
    }
}

impl StdError for SeveralLocations {}

#[cfg(test)]
mod tests {
    use http::header::CONTENT_TYPE;
    use http::{HeaderValue, Response};

    use super::*;

    fn head(name: &HeaderName, lines: &[&[u8]]) -> Parts {
        let mut response = Response::new(());
        for line in lines {
            let line = HeaderValue::from_bytes(line).unwrap();
            response.headers_mut().append(name, line);
        }
        response.into_parts().0
    }

    #[test]
    fn lines_of_one_name_are_joined() {
        let check = |lines: &[&[u8]], expected: Option<&str>| {
            let head = head(&CONTENT_TYPE, lines);
            assert_eq!(joined(&head, CONTENT_TYPE).as_deref(), expected);
        };
        check(&[], None);
        check(&[b""], Some(""));
        check(&[b"a/b"], Some("a/b"));
        check(&[b"a/b", b"c/d;e", b"\xff"], Some("a/b, c/d;e, \u{fffd}"));
    }

    #[test]
    fn a_redirect_has_one_target_in_the_bytes_of_the_server() {
        let check = |lines: &[&[u8]], expected: Option<&str>| {
            let location = location(&head(&LOCATION, lines)).unwrap();
            assert_eq!(location.as_deref(), expected);
        };
        check(&[], None);
        check(&[b"", b"  "], None);
        check(&[b"/a b?c=%41#d"], Some("/a b?c=%41#d"));
        check(&["/größe".as_bytes()], Some("/gr%C3%B6%C3%9Fe"));
        check(&[b"/gr\xf6\xdfe"], Some("/gr%F6%DFe"));
        check(&[b"", b"/a", b"/a"], Some("/a"));
        assert!(location(&head(&LOCATION, &[b"/a", b"/b"])).is_err());
    }
}
