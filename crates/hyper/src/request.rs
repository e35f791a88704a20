//! Owns the forms of a request: where it goes, and what of its URL is said there.

use std::error::Error as StdError;
use std::fmt;

use bytes::Bytes;
use http::header::{HOST, InvalidHeaderValue};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderValue, Request, Uri};

/// The server of a URL: scheme, host and port, and nothing that is secret.
pub(crate) fn origin(url: &Uri) -> Option<Uri> {
    let default_port = match url.scheme_str()? {
        "http" => 80,
        "https" => 443,
        "socks5" | "socks5h" => 1080,
        _ => return None,
    };
    let host = url.host().filter(|host| !host.is_empty())?;
    let port = match host_and_port(url)?.strip_prefix(host)? {
        "" | ":" => default_port,
        _ => url.port_u16()?,
    };
    Uri::builder()
        .scheme(url.scheme()?.clone())
        .authority(format!("{host}:{port}"))
        .path_and_query("/")
        .build()
        .ok()
}

/// Names the server in `Host`, as every form of a request does.
pub(crate) fn name_host(request: &mut Request<Bytes>) -> Result<(), InvalidHeaderValue> {
    let host = HeaderValue::from_str(host_and_port(request.uri()).unwrap_or_default())?;
    request.headers_mut().entry(HOST).or_insert(host);
    Ok(())
}

/// The form for a server: the path alone.
pub(crate) fn to_origin_form(request: &mut Request<Bytes>) {
    *request.uri_mut() = Uri::from(path(request.uri()));
}

/// The form for a proxy: the whole URL, but for what stands before an `@`.
pub(crate) fn to_absolute_form(request: &mut Request<Bytes>) -> Result<(), http::Error> {
    let url = request.uri();
    let absolute = Uri::builder()
        .scheme(Scheme::HTTP)
        .authority(host_and_port(url).unwrap_or_default())
        .path_and_query(path(url));
    *request.uri_mut() = absolute.build()?;
    Ok(())
}

fn path(url: &Uri) -> PathAndQuery {
    let path = url.path_and_query().cloned();
    path.unwrap_or_else(|| PathAndQuery::from_static("/"))
}

/// Whatever stands before an `@` is no part of the host.
fn host_and_port(url: &Uri) -> Option<&str> {
    let authority = url.authority()?.as_str();
    let host = authority.rsplit_once('@').map(|(_, host)| host);
    Some(host.unwrap_or(authority))
}

/// The URL names no host, or a scheme that the transport does not speak.
#[derive(Debug)]
pub struct UnsupportedUrl(());

impl UnsupportedUrl {
    pub(crate) fn new() -> Self {
        Self(())
    }
}

impl fmt::Display for UnsupportedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if cfg!(feature = "tls") {
            "the direct transport needs an http:// or https:// URL with a host"
        } else {
            "the direct transport needs an http:// URL with a host; https:// needs its feature `tls`"
        })
    }
}

impl StdError for UnsupportedUrl {}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(url: &str) -> Request<Bytes> {
        Request::get(url).body(Bytes::new()).unwrap()
    }

    #[test]
    fn a_server_is_asked_by_path_and_a_proxy_by_url() {
        let check = |url: &str, host: &str, path: &str| {
            let mut request = request(url);
            name_host(&mut request).unwrap();
            assert_eq!(request.headers()[HOST], host, "{url}");
            let mut absolute = request.clone();
            to_absolute_form(&mut absolute).unwrap();
            assert_eq!(absolute.uri().to_string(), format!("http://{host}{path}"));
            to_origin_form(&mut request);
            assert_eq!(request.uri().to_string(), path, "{url}");
        };
        check("http://localhost", "localhost", "/");
        check("http://localhost:8080/a?b=c", "localhost:8080", "/a?b=c");
        check("http://user:secret@[::1]:80/a", "[::1]:80", "/a");
    }

    #[test]
    fn an_origin_is_a_scheme_a_host_and_a_port() {
        let check = |url: &str, expected: Option<&str>| {
            let found = origin(request(url).uri()).map(|url| url.to_string());
            assert_eq!(found.as_deref(), expected, "{url}");
        };
        check("http://localhost", Some("http://localhost:80/"));
        check("http://localhost:/", Some("http://localhost:80/"));
        check("http://a:8080/b?c", Some("http://a:8080/"));
        check("https://a", Some("https://a:443/"));
        check("https://[::1]/b", Some("https://[::1]:443/"));
        check("http://user:secret@[::1]:1/", Some("http://[::1]:1/"));
        check("http://a@b@localhost/", Some("http://localhost:80/"));
        for url in [
            "http://localhost:99999/",
            "http://user@:80/",
            "ftp://localhost/",
            "/events",
            "localhost",
        ] {
            check(url, None);
        }
    }
}
