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
///
/// # Errors
/// The rest is no URL, as in `http://user@%41/`.
pub(crate) fn take_from(url: Uri) -> Result<(Uri, Option<HeaderValue>), http::Error> {
    let authority = url.authority().cloned();
    let split = authority
        .as_ref()
        .and_then(|authority| authority.as_str().rsplit_once('@'));
    let Some((user, host)) = split else {
        return Ok((url, None));
    };
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    let mut pair: Vec<u8> = percent_decode_str(name).collect();
    pair.push(b':');
    pair.extend(percent_decode_str(password));
    let Ok(mut value) = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(&pair))) else {
        unreachable!("a header can carry Base64");
    };
    value.set_sensitive(true);
    let mut parts = url.into_parts();
    parts.authority = Some(host.parse()?);
    let bare = Uri::from_parts(parts)?;
    Ok((bare, Some(value).filter(|_| pair != b":")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_a_password_are_moved_from_the_url_to_a_header() {
        let check = |url: &str, bare: &str, pair: Option<&str>| {
            let (taken, value) = take_from(url.parse().unwrap()).unwrap();
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
        check("http://a:b@[v1.x]/", "http://[v1.x]/", Some("a:b"));
        check("/only/a/path", "/only/a/path", None);
    }

    #[test]
    fn no_url_keeps_its_user_information() {
        const PIECES: [&str; 14] = [
            "@", ":", "[", "]", "::1", "a", ".", "%", "%40", "-", "80", "v1.", "*", "/?",
        ];
        let mut random = fastrand::Rng::with_seed(7);
        let mut taken = 0;
        for _ in 0..100_000 {
            let start = random.choice(["http://", "https://", "", "//", "ftp://"]);
            let mut text = start.unwrap_or_default().to_owned();
            for _ in 0..random.usize(..8) {
                text.push_str(random.choice(PIECES).unwrap_or_default());
            }
            if let Ok(url) = text.parse::<Uri>() {
                let has_user = url.authority().is_some_and(|it| it.as_str().contains('@'));
                if let Ok((bare, _)) = take_from(url) {
                    let is_bare = bare.authority().is_none_or(|it| !it.as_str().contains('@'));
                    assert!(is_bare, "{text}");
                    taken += u32::from(has_user);
                }
            }
        }
        assert!(taken > 1000, "{taken}");
    }

    #[test]
    fn credentials_are_marked_sensitive() {
        let (_, value) = take_from("http://a:b@c.test/".parse().unwrap()).unwrap();
        assert!(value.unwrap().is_sensitive());
        assert!(bearer("token").unwrap().is_sensitive());
    }
}
