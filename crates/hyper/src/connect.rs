//! Owns `DirectTransport`: connects, and sends the request.

use std::error::Error as StdError;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

use bytes::Bytes;
use http::header::HOST;
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tidings_client::{ConnectError, Connecting, ResponseBody, Transport, TransportError};
use tokio::net::TcpStream;

use crate::body::{Connection, DirectBody};

/// One new HTTP/1.1 connection for each request, closed with its body.
#[derive(Debug, Clone, Default)]
pub struct DirectTransport(());

impl DirectTransport {
    /// The transport.
    #[must_use]
    pub fn new() -> Self {
        Self(())
    }
}

impl Transport for DirectTransport {
    fn connect(&self, request: Request<Bytes>) -> Connecting {
        Box::pin(connect(request))
    }
}

async fn connect(request: Request<Bytes>) -> Result<Response<ResponseBody>, ConnectError> {
    let (address, request) = to_origin_form(request).map_err(ConnectError::InvalidRequest)?;
    send(address, request).await.map_err(ConnectError::Network)
}

/// A host and a port.
type Address = (String, u16);

async fn send(
    address: Address,
    request: Request<Full<Bytes>>,
) -> Result<Response<ResponseBody>, TransportError> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let (response, connection) = drive(connection, sender.send_request(request)).await;
    Ok(response?.map(|body| ResponseBody::new(DirectBody::new(connection, body))))
}

/// Polls the connection for as long as the response takes, and returns it if it is still open.
async fn drive<F: Future>(connection: Connection, response: F) -> (F::Output, Option<Connection>) {
    let mut response = pin!(response);
    let mut connection = Some(connection);
    let response = poll_fn(|cx| {
        if let Poll::Ready(response) = response.as_mut().poll(cx) {
            return Poll::Ready(response);
        }
        if let Some(open) = &mut connection
            && Pin::new(open).poll(cx).is_ready()
        {
            // Its error, if any, reaches the response too.
            connection = None;
        }
        response.as_mut().poll(cx)
    });
    (response.await, connection)
}

/// The request as it is sent to its origin: the path alone, and the rest in `Host`.
fn to_origin_form(
    mut request: Request<Bytes>,
) -> Result<(Address, Request<Full<Bytes>>), TransportError> {
    let uri = request.uri();
    let authority = match (uri.scheme_str(), uri.authority()) {
        (Some("http"), Some(authority)) => authority.as_str(),
        _ => return Err(UnsupportedUrl(()).into()),
    };
    // Whatever stands before an `@` is no part of the host.
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    let address = address(host).ok_or(UnsupportedUrl(()))?;
    let host = HeaderValue::from_str(host)?;
    let path = uri.path_and_query().cloned();
    *request.uri_mut() = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    request.headers_mut().entry(HOST).or_insert(host);
    Ok((address, request.map(Full::new)))
}

/// What `host`, `host:port`, `[::1]` or `[::1]:port` names; port 80 if none.
fn address(authority: &str) -> Option<Address> {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (authority, ""),
    };
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    let port = if port.is_empty() {
        80
    } else {
        port.parse().ok()?
    };
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

/// The URL names no host, or another scheme than `http`.
#[derive(Debug)]
pub struct UnsupportedUrl(());

impl fmt::Display for UnsupportedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the direct transport needs an http:// URL with a host")
    }
}

impl StdError for UnsupportedUrl {}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, host: &str, target: &str) {
        let request = Request::get(url).body(Bytes::new()).unwrap();
        let (_, request) = to_origin_form(request).unwrap();
        assert_eq!(request.headers()[HOST], host, "{url}");
        assert_eq!(request.uri().to_string(), target, "{url}");
    }

    #[test]
    fn a_request_names_its_path_and_its_host() {
        check("http://localhost", "localhost", "/");
        check("http://localhost:8080/a?b=c", "localhost:8080", "/a?b=c");
        check("http://user:secret@[::1]:80/a", "[::1]:80", "/a");
    }

    #[test]
    fn an_address_is_a_host_and_a_port() {
        let check = |authority: &str, expected: Option<(&str, u16)>| {
            let found = address(authority);
            let found = found.as_ref().map(|(host, port)| (host.as_str(), *port));
            assert_eq!(found, expected, "{authority}");
        };
        check("localhost", Some(("localhost", 80)));
        check("localhost:", Some(("localhost", 80)));
        check("localhost:8080", Some(("localhost", 8080)));
        check("[::1]", Some(("::1", 80)));
        check("[::1]:8080", Some(("::1", 8080)));
        for authority in ["", ":80", "localhost:99999", "localhost:http"] {
            check(authority, None);
        }
    }

    #[test]
    fn other_schemes_and_bare_paths_are_refused() {
        for url in [
            "https://localhost/",
            "/events",
            "localhost",
            "http://localhost:99999/",
        ] {
            let request = Request::get(url).body(Bytes::new()).unwrap();
            assert!(to_origin_form(request).is_err(), "{url}");
        }
    }
}
