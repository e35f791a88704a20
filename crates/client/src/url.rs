//! URLs: the types that can name one, the target of a `Location`, and the origin of a URL.

use http::Uri;
use iri_string::format::ToDedicatedString as _;
use iri_string::percent_encode::PercentEncodedForUri;
use iri_string::types::{UriAbsoluteStr, UriReferenceStr};

use crate::transport::TransportError;

/// The types that can name a URL: text, a [`Uri`], and a tuple of host, port and path, with the scheme
/// `http` or with a scheme in front. Sealed.
///
/// ```
/// use tidings_client::IntoUrl;
///
/// assert_eq!("http://localhost/a#b".into_url()?, "http://localhost/a");
/// assert_eq!(("localhost", 8080, "/events").into_url()?, "http://localhost:8080/events");
/// assert_eq!(("https", "localhost", 443, "/").into_url()?, "https://localhost:443/");
/// # Ok::<(), http::Error>(())
/// ```
#[doc(alias = "urlString")]
pub trait IntoUrl: sealed::Sealed {
    /// The URL, without its fragment.
    ///
    /// # Errors
    /// The text or the parts are no valid URL.
    fn into_url(self) -> Result<Uri, http::Error>;
}

mod sealed {
    #[allow(unnameable_types, reason = "it seals the trait")]
    pub trait Sealed {}

    impl Sealed for http::Uri {}
    impl Sealed for &http::Uri {}
    impl Sealed for &str {}
    impl Sealed for String {}
    impl Sealed for &String {}
    impl Sealed for (&str, u16, &str) {}
    impl Sealed for (&str, &str, u16, &str) {}
}

impl IntoUrl for &Uri {
    fn into_url(self) -> Result<Uri, http::Error> {
        Ok(self.clone())
    }
}

impl IntoUrl for Uri {
    fn into_url(self) -> Result<Uri, http::Error> {
        Ok(self)
    }
}

impl IntoUrl for &str {
    fn into_url(self) -> Result<Uri, http::Error> {
        // A fragment is for the client alone and is never sent.
        let url = self.split_once('#').map_or(self, |(url, _)| url);
        Ok(url.parse::<Uri>()?)
    }
}

impl IntoUrl for String {
    fn into_url(self) -> Result<Uri, http::Error> {
        self.as_str().into_url()
    }
}

impl IntoUrl for &String {
    fn into_url(self) -> Result<Uri, http::Error> {
        self.as_str().into_url()
    }
}

impl IntoUrl for (&str, u16, &str) {
    fn into_url(self) -> Result<Uri, http::Error> {
        let (host, port, path) = self;
        ("http", host, port, path).into_url()
    }
}

impl IntoUrl for (&str, &str, u16, &str) {
    fn into_url(self) -> Result<Uri, http::Error> {
        let (scheme, host, port, path) = self;
        let is_bare_ipv6 = host.contains(':') && !host.starts_with('[');
        let authority = if is_bare_ipv6 {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        };
        let url = Uri::builder().scheme(scheme).authority(authority);
        // Without a slash the path would be read as part of the host.
        if path.starts_with('/') {
            url.path_and_query(path).build()
        } else {
            url.path_and_query(format!("/{path}")).build()
        }
    }
}

/// The URL with another parameter in its query.
pub(crate) fn with_parameter(url: &Uri, name: &str, value: &str) -> Result<Uri, http::Error> {
    let separator = if url.query().is_some() { '&' } else { '?' };
    let name = PercentEncodedForUri::unreserve(name);
    let value = PercentEncodedForUri::unreserve(value);
    Ok(format!("{url}{separator}{name}={value}").parse::<Uri>()?)
}

/// The URL that a `Location` leads to.
///
/// Spec: [RFC 9110, section 10.2.2](https://www.rfc-editor.org/rfc/rfc9110#section-10.2.2).
pub(crate) fn resolve(url: &Uri, location: &str) -> Result<Uri, TransportError> {
    let base = encode_path(&url.to_string());
    let location = encode_path(&as_browsers_read(location));
    let resolved = UriReferenceStr::new(&location)?.resolve_against(UriAbsoluteStr::new(&base)?);
    let resolved = resolved.to_dedicated_string().as_str().into_url()?;
    if matches!(resolved.scheme_str(), Some("http" | "https")) && resolved.host().is_some() {
        Ok(resolved)
    } else {
        Err("the Location is no URL of http or https".into())
    }
}

/// A reference without its fragment and the characters that browsers remove, and with a slash for each
/// backslash before the query.
///
/// Spec: [basic URL parser](https://url.spec.whatwg.org/#concept-basic-url-parser).
fn as_browsers_read(reference: &str) -> String {
    let reference = reference.trim_matches(|character| character <= ' ');
    let sent = reference.split_once('#').map_or(reference, |(url, _)| url);
    let (path, query) = sent.split_at(sent.find('?').unwrap_or(sent.len()));
    let mut read = path.replace('\\', "/") + query;
    read.retain(|character| !['\t', '\n', '\r'].contains(&character));
    read
}

/// The URL with every character after its authority encoded that RFC 3986 does not allow there.
/// Browsers send and accept such characters.
fn encode_path(url: &str) -> String {
    // An IPv6 address keeps its brackets.
    let (authority, path) = url.split_at(path_start(url));
    let mut encoded = authority.to_owned();
    for (at, character) in path.char_indices() {
        let is_escape = || {
            let digits = path.as_bytes().get(at + 1..at + 3);
            digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
        };
        let is_kept = match character {
            '%' => is_escape(),
            '[' | ']' | '{' | '}' | '|' | '\\' | '^' | '`' | '"' | '<' | '>' => false,
            character => matches!(character, '!'..='~'),
        };
        if is_kept {
            encoded.push(character);
        } else {
            let bytes = character.to_string().into_bytes();
            encoded.extend(bytes.into_iter().map(|byte| format!("%{byte:02X}")));
        }
    }
    encoded
}

/// The offset at which the path of a URL or of a reference begins.
fn path_start(url: &str) -> usize {
    let end = |text: &str| text.find(['/', '?', '#']).unwrap_or(text.len());
    let first = end(url);
    match url[first..].strip_prefix("//") {
        Some(authority) => first + "//".len() + end(authority),
        None => 0,
    }
}

/// Whether two URLs have the same scheme, host and port.
///
/// Spec: [same origin](https://html.spec.whatwg.org/multipage/browsers.html#same-origin).
pub(crate) fn is_same_origin(a: &Uri, b: &Uri) -> bool {
    let host = |url: &Uri| url.host().map(str::to_ascii_lowercase);
    a.scheme() == b.scheme() && host(a) == host(b) && port(a) == port(b)
}

/// Host and port, to name the server in an error; `None` if the URL has no host.
pub(crate) fn host_and_port(url: &Uri) -> Option<String> {
    let host = url.host()?;
    Some(match port(url) {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    })
}

fn port(url: &Uri) -> Option<u16> {
    url.port_u16().or(match url.scheme_str() {
        Some("http") => Some(80),
        Some("https") => Some(443),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Uri {
        text.parse().unwrap()
    }

    #[test]
    fn a_location_is_resolved_against_the_requested_url() {
        let base = url("http://a.test:8080/b/c?d=e");
        for (location, expected) in [
            ("http://other.test/x", "http://other.test/x"),
            ("//other.test/x", "http://other.test/x"),
            ("/x?y=z", "http://a.test:8080/x?y=z"),
            ("x", "http://a.test:8080/b/x"),
            ("../x", "http://a.test:8080/x"),
            ("?y", "http://a.test:8080/b/c?y"),
            ("", "http://a.test:8080/b/c?d=e"),
            (" /x#fragment ", "http://a.test:8080/x"),
            ("/größe", "http://a.test:8080/gr%C3%B6%C3%9Fe"),
            ("a b", "http://a.test:8080/b/a%20b"),
            ("/a b?c d", "http://a.test:8080/a%20b?c%20d"),
            ("/\u{1b}\u{7f}", "http://a.test:8080/%1B%7F"),
            ("\u{1}/x\t/\ny\u{1f}", "http://a.test:8080/x/y"),
            ("\\x\\y?\\", "http://a.test:8080/x/y?%5C"),
            ("\\\\other.test\\x", "http://other.test/x"),
            ("http:\\\\other.test/x", "http://other.test/x"),
            ("/x#a b#c", "http://a.test:8080/x"),
            ("HTTP://Other.test", "http://Other.test/"),
        ] {
            assert_eq!(resolve(&base, location).unwrap(), expected, "{location:?}");
        }
        for location in [
            "http://[",
            "http://a b/",
            "mailto:a",
            "evil:80",
            "http:///x",
        ] {
            assert!(resolve(&base, location).is_err(), "{location:?}");
        }
    }

    #[test]
    fn characters_that_only_browsers_accept_are_encoded() {
        let check = |base: &str, location: &str, expected: &str| {
            assert_eq!(resolve(&url(base), location).unwrap(), expected);
        };
        check("http://a.test/x?f[a]=1", "/y", "http://a.test/y");
        check("http://a.test/x?q={1}|%", "?z", "http://a.test/x?z");
        check(
            "http://a.test/größe/",
            "x",
            "http://a.test/gr%C3%B6%C3%9Fe/x",
        );
        check("http://[::1]:80/x", "y[1]", "http://[::1]:80/y%5B1%5D");
        check(
            "http://a.test/",
            "/y?f[a]=100%&b=%41",
            "http://a.test/y?f%5Ba%5D=100%25&b=%41",
        );
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let named = url("http://a.test/x");
        for same in ["http://a.test/y?z", "http://A.TEST/", "http://a.test:80/"] {
            assert!(is_same_origin(&named, &url(same)), "{same}");
        }
        for other in [
            "https://a.test/",
            "http://b.test/",
            "http://a.test:8080/",
            "http://x.a.test/",
            "http://a.test:443/",
        ] {
            assert!(!is_same_origin(&named, &url(other)), "{other}");
        }
    }

    #[test]
    fn a_server_is_named_by_host_and_port_alone() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(host_and_port(&url(text)).as_deref(), expected, "{text}");
        };
        check("http://a.test/b?c", Some("a.test:80"));
        check("https://a.test", Some("a.test:443"));
        check("http://us3r:pa55@[::1]:8080/b", Some("[::1]:8080"));
        check("/b?c", None);
    }

    #[test]
    fn a_parameter_is_encoded() {
        let check = |base: &str, name, value, expected: &str| {
            assert_eq!(with_parameter(&url(base), name, value).unwrap(), expected);
        };
        check("http://a.test", "a", "b", "http://a.test/?a=b");
        check(
            "http://a.test/c?d",
            "a b",
            "=&#+?/%",
            "http://a.test/c?d&a%20b=%3D%26%23%2B%3F%2F%25",
        );
        check(
            "http://a.test/",
            "größe",
            "\r\n",
            "http://a.test/?gr%C3%B6%C3%9Fe=%0D%0A",
        );
    }

    #[test]
    fn text_or_parts_name_a_url() {
        let check = |url: Result<Uri, http::Error>, expected: &str| {
            assert_eq!(url.unwrap(), expected);
        };
        check("http://a.test".into_url(), "http://a.test/");
        check(
            String::from("https://a.test/b?c#d").into_url(),
            "https://a.test/b?c",
        );
        check(
            ("a.test", 8080, "/b?c").into_url(),
            "http://a.test:8080/b?c",
        );
        check(
            ("https", "a.test", 443, "/").into_url(),
            "https://a.test:443/",
        );
        check(("[::1]", 80, "").into_url(), "http://[::1]:80/");
    }

    #[test]
    fn an_ipv6_address_is_a_host_with_and_without_brackets() {
        for host in ["::1", "[::1]"] {
            assert_eq!((host, 80, "/a").into_url().unwrap(), "http://[::1]:80/a");
        }
    }

    #[test]
    fn a_path_is_never_part_of_the_host() {
        for (path, expected) in [
            ("", "http://a.test:80/"),
            ("b?c", "http://a.test:80/b?c"),
            ("?c", "http://a.test:80/?c"),
            ("@evil.test/", "http://a.test:80/@evil.test/"),
            (".evil.test/", "http://a.test:80/.evil.test/"),
        ] {
            let url = ("a.test", 80, path).into_url().unwrap();
            assert_eq!(url.to_string(), expected);
        }
    }

    #[test]
    fn invalid_urls_are_refused() {
        assert!(("http", "a b", 80, "/").into_url().is_err());
        assert!(("ht tp", "a", 80, "/").into_url().is_err());
        assert!("http://a b/".into_url().is_err());
    }
}
