//! Servers on hyper that answer every request with one function.

use std::convert::Infallible;
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;

/// Answers the requests of any number of HTTP/1.1 connections. Returns the address of the server,
/// which ends with the runtime.
///
/// # Panics
/// If no port is free.
pub async fn serve<R, B>(respond: R) -> SocketAddr
where
    R: Fn(Request<Incoming>) -> Response<B> + Clone + Send + Sync + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    let listener = listener.expect("a free port");
    let address = listener.local_addr().expect("the address of a listener");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve_http1(stream, respond.clone()));
        }
    });
    address
}

/// Answers the requests of one HTTP/1.1 connection until it ends.
pub async fn serve_http1<S, R, B>(stream: S, respond: R)
where
    S: AsyncRead + AsyncWrite + Unpin,
    R: Fn(Request<Incoming>) -> Response<B>,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let service = service_fn(|request| {
        let response = respond(request);
        async { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // A response that is cut, and a client that disconnects, are errors here.
    drop(connection.await);
}

/// Answers the requests of one HTTP/2 connection until it ends.
pub async fn serve_http2<S, R, B>(stream: S, respond: R)
where
    S: AsyncRead + AsyncWrite + Unpin,
    R: Fn(Request<Incoming>) -> Response<B>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let service = service_fn(|request| {
        let response = respond(request);
        async { Ok::<_, Infallible>(response) }
    });
    let connection = http2::Builder::new(TokioExecutor::new());
    // A client that disconnects is an error here.
    drop(
        connection
            .serve_connection(TokioIo::new(stream), service)
            .await,
    );
}
