//! Owns the way to a server: lookup, TCP, proxy and TLS, within one time.

use std::error::Error as StdError;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::rt::TokioIo;
use tidings_client::{ConnectTimeout, TransportError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower_service::Service;

use crate::proxy::Route;
#[cfg(feature = "tls")]
use crate::tls::Tls;

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

/// The server's [origin](crate::request::origin), and how it is reached.
pub(crate) struct Way {
    pub(crate) server: Uri,
    pub(crate) route: Route,
    pub(crate) tcp: HttpConnector,
    #[cfg(feature = "tls")]
    pub(crate) tls: Tls,
}

impl Way {
    pub(crate) async fn open(self) -> Result<Link, TransportError> {
        #[cfg(feature = "tls")]
        let handshake = match self.server.host() {
            Some(host) if self.server.scheme_str() == Some("https") => {
                Some(self.tls.prepare(host).map_err(Step::Tls.failed())?)
            }
            _ => None,
        };
        let stream = match self.route {
            Route::Direct => call(self.tcp, self.server)
                .await
                .map_err(Step::Server.failed())?,
            Route::Forward { proxy, .. } => {
                let connecting = call(self.tcp, proxy);
                connecting.await.map_err(Step::Proxy.failed())?
            }
            Route::Tunnel {
                proxy,
                authorization,
            } => {
                let mut tunnel = Tunnel::new(proxy, self.tcp);
                if let Some(authorization) = authorization {
                    tunnel = tunnel.with_auth(authorization);
                }
                let connecting = call(tunnel, self.server);
                connecting.await.map_err(Step::Proxy.failed())?
            }
            Route::Socks { proxy, user } => {
                let mut socks = SocksV5::new(proxy, self.tcp);
                if let Some((name, password)) = user {
                    socks = socks.with_auth(name, password);
                }
                let connecting = call(socks, self.server);
                connecting.await.map_err(Step::Proxy.failed())?
            }
        };
        #[cfg(feature = "tls")]
        if let Some(handshake) = handshake {
            let handshake = handshake.over(stream);
            let stream = handshake.await.map_err(Step::Tls.failed())?;
            return Ok(Link::Other(Box::new(stream)));
        }
        Ok(Link::Tcp(stream))
    }
}

async fn call<S>(mut connector: S, url: Uri) -> Result<TcpStream, S::Error>
where
    S: Service<Uri, Response = TokioIo<TcpStream>>,
{
    poll_fn(|cx| connector.poll_ready(cx)).await?;
    Ok(connector.call(url).await?.into_inner())
}

pub(crate) async fn dial(dialing: Dialing) -> Result<Link, TransportError> {
    let stream = dialing.await.map_err(Step::Server.failed())?;
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

/// A step on the way to a server.
#[derive(Debug, Clone, Copy)]
enum Step {
    Server,
    Proxy,
    #[cfg(feature = "tls")]
    Tls,
}

impl Step {
    fn failed<E: Into<TransportError>>(self) -> impl FnOnce(E) -> TransportError {
        move |cause| {
            Box::new(Failed {
                step: self,
                cause: cause.into(),
            })
        }
    }
}

/// A step that failed. Names no URL: its query and what stands before an `@` are secrets.
#[derive(Debug)]
struct Failed {
    step: Step,
    cause: TransportError,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.step {
            Step::Server => "the server could not be reached",
            Step::Proxy => "the proxy could not be reached, or does not reach the server",
            #[cfg(feature = "tls")]
            Step::Tls => "no TLS with the server",
        })
    }
}

impl StdError for Failed {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(self.cause.as_ref())
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
