//! The cookie in which the page of the server has its token.

use axum::http::header::{COOKIE, FORWARDED, ORIGIN};
use axum::http::{HeaderMap, HeaderValue};

/// The name over plain HTTP.
const NAME: &str = "tidings-token";

/// The name over TLS. The prefix has a browser refuse it from another host, and over plain HTTP.
const SECURE_NAME: &str = "__Host-tidings-token";

/// The cookie that shows the scripts of the page, which cannot read the token, that there is one.
const SHOWN_NAME: &str = "tidings-signed-in";

/// The longest token that fits into a cookie, in bytes: a browser ignores a cookie over 4,096.
pub(super) const MAX_COOKIE_TOKEN: usize = 4_000;

/// Whether the browser speaks TLS: to this server, to a proxy that says so, or by the address of its page.
pub(super) fn is_secure(headers: &HeaderMap, is_over_tls: bool) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let is_https = |value: &str| value.trim().trim_matches('"').eq_ignore_ascii_case("https");
    let by_proxy = text("x-forwarded-proto")
        .and_then(|value| value.split(',').next())
        .is_some_and(is_https);
    let first = text(FORWARDED.as_str()).and_then(|value| value.split(',').next());
    let by_forwarded = first.is_some_and(|first| {
        let mut pairs = first.split(';').filter_map(|pair| pair.split_once('='));
        pairs.any(|(name, value)| name.trim().eq_ignore_ascii_case("proto") && is_https(value))
    });
    let by_page = text(ORIGIN.as_str()).is_some_and(|origin| origin.starts_with("https://"));
    is_over_tls || by_proxy || by_forwarded || by_page
}

/// The token in the cookie of the request.
pub(super) fn token(headers: &HeaderMap, is_over_tls: bool) -> Option<&str> {
    // A page of a neighbouring host, or one without TLS, can set the plain one only.
    find(headers, SECURE_NAME)
        .or_else(|| find(headers, NAME).filter(|_| !is_secure(headers, is_over_tls)))
}

fn find<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(COOKIE).iter();
    let mut pairs = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    pairs
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value)
        .filter(|value| !value.is_empty())
}

/// Sets the cookie with this token for so many seconds, and the one that shows it.
pub(super) fn set(token: &str, seconds: u64, is_secure: bool) -> Option<[HeaderValue; 2]> {
    let (name, suffix) = name(is_secure);
    let text =
        format!("{name}={token}; HttpOnly; SameSite=Strict; Path=/; Max-Age={seconds}{suffix}");
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    let shown = format!("{SHOWN_NAME}=1; SameSite=Strict; Path=/; Max-Age={seconds}{suffix}");
    Some([value, HeaderValue::try_from(shown).ok()?])
}

/// Removes the cookies of all names.
pub(super) fn clear() -> [HeaderValue; 3] {
    [
        HeaderValue::from_static("tidings-token=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0"),
        HeaderValue::from_static(
            "__Host-tidings-token=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0; Secure",
        ),
        HeaderValue::from_static("tidings-signed-in=; SameSite=Strict; Path=/; Max-Age=0"),
    ]
}

fn name(is_secure: bool) -> (&'static str, &'static str) {
    if is_secure {
        (SECURE_NAME, "; Secure")
    } else {
        (NAME, "")
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        map
    }

    #[test]
    fn the_token_is_found_among_other_cookies() {
        for (lines, expected) in [
            (&[][..], None),
            (&[("cookie", "a=b")], None),
            (&[("cookie", "tidings-token=x.y.z")], Some("x.y.z")),
            (&[("cookie", "a=b; tidings-token=x ;c=d")], Some("x")),
            (
                &[("cookie", "a=b"), ("cookie", "tidings-token=x")],
                Some("x"),
            ),
            (
                &[("cookie", "tidings-token=x; __Host-tidings-token=y")],
                Some("y"),
            ),
            (&[("cookie", "tidings-token=")], None),
            (&[("cookie", "Tidings-Token=x")], None),
            (&[("cookie", "xtidings-token=x")], None),
            (&[("cookie", "tidings-token")], None),
            (
                &[
                    ("cookie", "tidings-token=x"),
                    ("x-forwarded-proto", "https"),
                ],
                None,
            ),
            (
                &[
                    ("cookie", "__Host-tidings-token=x"),
                    ("x-forwarded-proto", "https"),
                ],
                Some("x"),
            ),
        ] {
            assert_eq!(token(&headers(lines), false), expected, "{lines:?}");
        }
    }

    #[test]
    fn a_proxy_or_the_page_shows_that_the_browser_speaks_tls() {
        for (name, value, expected) in [
            ("x-forwarded-proto", "https", true),
            ("x-forwarded-proto", "HTTPS, http", true),
            ("x-forwarded-proto", "http, https", false),
            ("forwarded", "for=192.0.2.1;proto=https;by=10.0.0.1", true),
            ("forwarded", "for=a;Proto=\"https\", proto=http", true),
            ("forwarded", "proto=http, proto=https", false),
            ("origin", "https://events.example", true),
            ("origin", "http://https.example", false),
            ("host", "https", false),
        ] {
            assert_eq!(
                is_secure(&headers(&[(name, value)]), false),
                expected,
                "{name} {value}"
            );
        }
    }

    #[test]
    fn over_tls_the_plain_cookie_does_not_count() {
        let plain = headers(&[("cookie", "tidings-token=x")]);
        assert_eq!(token(&plain, true), None);
        assert!(is_secure(&plain, true));
        let secure = headers(&[("cookie", "__Host-tidings-token=x")]);
        assert_eq!(token(&secure, true), Some("x"));
    }

    #[test]
    fn a_cookie_is_for_this_server_alone() {
        let [plain, shown] = set("x", 60, false).unwrap();
        assert_eq!(
            plain,
            "tidings-token=x; HttpOnly; SameSite=Strict; Path=/; Max-Age=60"
        );
        assert_eq!(
            shown,
            "tidings-signed-in=1; SameSite=Strict; Path=/; Max-Age=60"
        );
        let [secure, _] = set("x", 60, true).unwrap();
        assert_eq!(
            secure,
            "__Host-tidings-token=x; HttpOnly; SameSite=Strict; Path=/; Max-Age=60; Secure"
        );
        assert!(!format!("{secure:?}").contains('x'));
    }
}
