//! Owns `DirectTransport`: connects, and sends the request.

use std::error::Error as StdError;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

use bytes::Bytes;
use http::header::HOST;
use http::uri::{Authority, PathAndQuery};
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
    let (authority, request) = to_origin_form(request).map_err(ConnectError::InvalidRequest)?;
    send(&authority, request)
        .await
        .map_err(ConnectError::Network)
}

async fn send(
    authority: &Authority,
    request: Request<Full<Bytes>>,
) -> Result<Response<ResponseBody>, TransportError> {
    let host = authority
        .host()
        .trim_start_matches('[')
        .trim_end_matches(']');
    let stream = TcpStream::connect((host, authority.port_u16().unwrap_or(80))).await?;
    stream.set_nodelay(true)?;
    let (mut sender, mut connection) = http1::handshake(TokioIo::new(stream)).await?;
    let response = drive(&mut connection, sender.send_request(request)).await?;
    Ok(response.map(|body| ResponseBody::new(DirectBody::new(connection, body))))
}

/// Polls the connection for as long as the response takes.
async fn drive<F: Future>(connection: &mut Connection, response: F) -> F::Output {
    let mut response = pin!(response);
    let mut is_open = true;
    poll_fn(|cx| {
        if let Poll::Ready(response) = response.as_mut().poll(cx) {
            return Poll::Ready(response);
        }
        if is_open && Pin::new(&mut *connection).poll(cx).is_ready() {
            // Its error, if any, reaches the response too.
            is_open = false;
        }
        response.as_mut().poll(cx)
    })
    .await
}

/// The request as it is sent to its origin: the path alone, and the rest in `Host`.
fn to_origin_form(
    mut request: Request<Bytes>,
) -> Result<(Authority, Request<Full<Bytes>>), TransportError> {
    let uri = request.uri();
    let authority = match (uri.scheme_str(), uri.authority()) {
        (Some("http"), Some(authority)) if !authority.host().is_empty() => authority.clone(),
        _ => return Err(UnsupportedUrl(()).into()),
    };
    let path = uri
        .path_and_query()
        .cloned()
        .unwrap_or_else(|| PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from(path);
    // Whatever stands before an `@` is no part of the host.
    let host = authority
        .as_str()
        .rsplit_once('@')
        .map_or(authority.as_str(), |(_, host)| host);
    let host = HeaderValue::from_str(host)?;
    request.headers_mut().entry(HOST).or_insert(host);
    Ok((authority, request.map(Full::new)))
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
    fn other_schemes_and_bare_paths_are_refused() {
        for url in ["https://localhost/", "/events", "localhost"] {
            let request = Request::get(url).body(Bytes::new()).unwrap();
            assert!(to_origin_form(request).is_err(), "{url}");
        }
    }
}
