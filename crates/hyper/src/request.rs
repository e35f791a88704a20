//! The forms of a request: which part of its URL a server, or a proxy, receives.

use std::error::Error as StdError;
use std::fmt;

use bytes::Bytes;
use http::header::{HOST, InvalidHeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Uri};

/// Scheme, host and port of a URL: all that names a server, and nothing secret.
#[derive(Clone)]
pub(crate) struct Origin {
    url: Uri,
    authority: Authority,
}

impl Origin {
    /// `None` without a host, or with a scheme that names neither a server nor a proxy.
    pub(crate) fn of(url: &Uri) -> Option<Self> {
        let default_port = match url.scheme_str()? {
            "http" => 80,
            "https" => 443,
            "socks5" | "socks5h" => 1080,
            _ => return None,
        };
        let host = url.host().filter(|host| !host.is_empty())?;
        let port = match written_host(url)?.strip_prefix(host)? {
            "" | ":" => default_port,
            _ => url.port_u16()?,
        };
        let authority: Authority = format!("{host}:{port}").parse().ok()?;
        let url = Uri::builder()
            .scheme(url.scheme()?.clone())
            .authority(authority.clone())
            .path_and_query("/")
            .build()
            .ok()?;
        Some(Self { url, authority })
    }

    pub(crate) fn url(&self) -> &Uri {
        &self.url
    }

    pub(crate) fn scheme(&self) -> Option<&str> {
        self.url.scheme_str()
    }

    pub(crate) fn host(&self) -> &str {
        self.authority.host()
    }
}

/// `host:port`.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.authority.as_str())
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.url)
    }
}

/// Names the server in `Host`, as every form of a request does.
pub(crate) fn set_host(
    request: &mut Request<Bytes>,
    written_host: &str,
) -> Result<(), InvalidHeaderValue> {
    let host = HeaderValue::from_str(written_host)?;
    request.headers_mut().entry(HOST).or_insert(host);
    Ok(())
}

/// The form for a server: the path alone.
pub(crate) fn to_origin_form(request: &mut Request<Bytes>) {
    *request.uri_mut() = Uri::from(path(request.uri()));
}

/// The form for a proxy: the whole URL, except the user and the password.
pub(crate) fn to_absolute_form(
    request: &mut Request<Bytes>,
    written_host: &str,
) -> Result<(), http::Error> {
    let absolute = Uri::builder()
        .scheme(Scheme::HTTP)
        .authority(written_host)
        .path_and_query(path(request.uri()));
    *request.uri_mut() = absolute.build()?;
    Ok(())
}

fn path(url: &Uri) -> PathAndQuery {
    let path = url.path_and_query().cloned();
    path.unwrap_or_else(|| PathAndQuery::from_static("/"))
}

/// The host and, if the URL names one, the port: everything after an `@`.
pub(crate) fn written_host(url: &Uri) -> Option<&str> {
    let authority = url.authority()?.as_str();
    let host = authority.rsplit_once('@').map(|(_, host)| host);
    Some(host.unwrap_or(authority))
}

/// The error for a URL without a host, or with a scheme that the transport does not support.
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
    fn a_server_receives_the_path_and_a_proxy_the_whole_url() {
        let check = |url: &str, host: &str, path: &str| {
            let mut request = request(url);
            let written = written_host(request.uri()).unwrap().to_owned();
            set_host(&mut request, &written).unwrap();
            assert_eq!(request.headers()[HOST], host, "{url}");
            let mut absolute = request.clone();
            to_absolute_form(&mut absolute, &written).unwrap();
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
            let found = Origin::of(request(url).uri()).map(|origin| origin.url().to_string());
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
