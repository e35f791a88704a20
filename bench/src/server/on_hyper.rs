//! The plainest server over hyper: one task per HTTP/1 connection.

use std::convert::Infallible;

use futures::FutureExt;
use http::request::Parts;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

/// Answers each request with `answer`, over connections wrapped by `wrap`.
pub async fn serve<W, IO, A, F, B>(listener: TcpListener, http: Builder, wrap: W, answer: A)
where
    W: Fn(TcpStream) -> IO,
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Fn(Parts) -> F + Clone + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>, Data: Send> + Send + 'static,
{
    while let Ok((stream, _)) = listener.accept().await {
        if stream.set_nodelay(true).is_ok() {
            tokio::spawn(connection(http.clone(), wrap(stream), answer.clone()));
        }
    }
}

async fn connection<IO, A, F, B>(http: Builder, stream: IO, answer: A)
where
    IO: AsyncRead + AsyncWrite + Unpin + 'static,
    A: Fn(Parts) -> F,
    F: Future<Output = Response<B>>,
    B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>> + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let (parts, _) = request.into_parts();
        answer(parts).map(Ok::<_, Infallible>)
    });
    // hyper returns an error when a client disconnects; that is no failure here.
    drop(http.serve_connection(TokioIo::new(stream), service).await);
}
