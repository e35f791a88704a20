//! Owns the way to a server: lookup and TCP, within one time.

use std::error::Error as StdError;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use tidings_client::{ConnectTimeout, TransportError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower_service::Service;

/// Any stream of bytes in both directions.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<IO: AsyncRead + AsyncWrite + Send + Unpin> Duplex for IO {}

/// How [`DirectTransport::over`](crate::DirectTransport::over) reaches a URL.
pub(crate) type Dial = Arc<dyn Fn(Uri) -> Dialing + Send + Sync>;

pub(crate) type Dialing = Pin<Box<dyn Future<Output = io::Result<Box<dyn Duplex>>> + Send>>;

/// A way to a server, open.
pub(crate) enum Link {
    /// Kept apart, as it is read without a virtual call.
    Tcp(TcpStream),
    Other(Box<dyn Duplex>),
}

/// Connects to a server, named by its [origin](crate::request::origin).
pub(crate) async fn dial_tcp(mut tcp: HttpConnector, server: Uri) -> Result<Link, TransportError> {
    let connecting = async {
        poll_fn(|cx| tcp.poll_ready(cx)).await?;
        tcp.call(server).await
    };
    let stream = connecting.await.map_err(failed)?;
    Ok(Link::Tcp(stream.into_inner()))
}

pub(crate) async fn dial(dialing: Dialing) -> Result<Link, TransportError> {
    let stream = dialing.await.map_err(failed)?;
    Ok(Link::Other(stream))
}

/// Does it within this time.
pub(crate) async fn within(
    limit: Option<ConnectTimeout>,
    opening: impl Future<Output = Result<Link, TransportError>>,
) -> Result<Link, TransportError> {
    match limit {
        Some(ConnectTimeout(limit)) => timeout(limit, opening)
            .await
            .unwrap_or_else(|_| Err(TimedOut(limit).into())),
        None => opening.await,
    }
}

fn failed(cause: impl Into<TransportError>) -> TransportError {
    Failed(cause.into()).into()
}

/// Names no URL: its query and what stands before an `@` are secrets.
#[derive(Debug)]
struct Failed(TransportError);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the server could not be reached")
    }
}

impl StdError for Failed {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(self.0.as_ref())
    }
}

#[derive(Debug)]
struct TimedOut(Duration);

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the connection was not made within {:?}", self.0)
    }
}

impl StdError for TimedOut {}
