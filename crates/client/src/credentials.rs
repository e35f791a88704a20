//! Credentials: a bearer token, and the name and password in a URL.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Uri};
use percent_encoding::percent_decode_str;

/// The value of `Authorization` for a bearer token.
pub(crate) fn bearer(token: &str) -> Result<HeaderValue, http::Error> {
    let mut value = HeaderValue::try_from(format!("Bearer {token}"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// A URL without its name and password, and the value of `Authorization` that carries them.
///
/// Spec: [RFC 7617](https://www.rfc-editor.org/rfc/rfc7617#section-2).
pub(crate) fn take_from(url: Uri) -> (Uri, Option<HeaderValue>) {
    let Some((user, host)) = url
        .authority()
        .and_then(|authority| authority.as_str().rsplit_once('@'))
    else {
        return (url, None);
    };
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    let mut pair: Vec<u8> = percent_decode_str(name).collect();
    pair.push(b':');
    pair.extend(percent_decode_str(password));
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(&pair))).ok();
    if let Some(value) = &mut value {
        value.set_sensitive(true);
    }
    let host = host.parse().ok();
    let mut parts = url.clone().into_parts();
    parts.authority = host;
    // A URL stays valid without its user information.
    let bare = Uri::from_parts(parts).unwrap_or(url);
    (bare, value.filter(|_| pair != b":"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_a_password_are_moved_from_the_url_to_a_header() {
        let check = |url: &str, bare: &str, pair: Option<&str>| {
            let (taken, value) = take_from(url.parse().unwrap());
            assert_eq!(taken.to_string(), bare, "{url}");
            let value = value.map(|value| value.to_str().unwrap().to_owned());
            let expected = pair.map(|pair| format!("Basic {}", STANDARD.encode(pair)));
            assert_eq!(value, expected, "{url}");
        };
        check("http://a.test/b?c=d@e", "http://a.test/b?c=d@e", None);
        check("http://a:b@c.test:80/d", "http://c.test:80/d", Some("a:b"));
        check("http://a@[::1]/", "http://[::1]/", Some("a:"));
        check(
            "http://a%40b:c%3Ad@e.test/",
            "http://e.test/",
            Some("a@b:c:d"),
        );
        check("http://:b@c.test/", "http://c.test/", Some(":b"));
        check("http://@c.test/", "http://c.test/", None);
        check("/only/a/path", "/only/a/path", None);
    }

    #[test]
    fn credentials_are_marked_sensitive() {
        let (_, value) = take_from("http://a:b@c.test/".parse().unwrap());
        assert!(value.unwrap().is_sensitive());
        assert!(bearer("token").unwrap().is_sensitive());
    }
}
