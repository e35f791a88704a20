//! The way to a server: lookup, TCP, proxy and TLS, within one timeout.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::future::{Future, Ready, poll_fn, ready};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::USER_AGENT;
use http::{HeaderMap, HeaderValue, Uri};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::rt::TokioIo;
use tidings_client::{ConnectTimeout, TransportError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tower_service::Service;

use crate::connect_failure::{Peer, Step};
use crate::lookup::{LookupError, Resolver};
use crate::proxy::Route;
use crate::request::Origin;
#[cfg(feature = "tls")]
use crate::tls::{self, Tls};

/// Any stream of bytes in both directions.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<IO: AsyncRead + AsyncWrite + Send + Unpin + 'static> Duplex for IO {}

/// How [`DirectTransport::over`](crate::DirectTransport::over) reaches a URL.
pub(crate) type Dial = Arc<dyn Fn(Uri) -> Dialing + Send + Sync>;

pub(crate) type Dialing = Pin<Box<dyn Future<Output = io::Result<Box<dyn Duplex>>> + Send>>;

/// An open stream of bytes to a server.
pub(crate) enum Link {
    /// A variant of its own, because it is read without a virtual call.
    Tcp(TcpStream),
    Other(Box<dyn Duplex>),
}

/// A server, and how to reach it.
pub(crate) struct Way {
    pub(crate) server: Origin,
    pub(crate) route: Route,
    /// Of the request. A proxy that is asked for a tunnel receives it too.
    pub(crate) user_agent: HeaderValue,
    pub(crate) tcp: HttpConnector<Resolver>,
    #[cfg(feature = "tls")]
    pub(crate) tls: Tls,
}

impl Way {
    /// Opens the link. Each address of one family has an equal share of the limit.
    pub(crate) async fn open(
        mut self,
        limit: Option<ConnectTimeout>,
    ) -> Result<Link, TransportError> {
        share(&mut self.tcp, limit);
        #[cfg(feature = "tls")]
        let handshake = if self.server.scheme() == Some("https") {
            let prepared = self.tls.prepare(self.server.host());
            Some(prepared.map_err(|cause| Step::TlsSetup.failed(&self.server, cause))?)
        } else {
            None
        };
        let stream = open_route(self.route, self.tcp, &self.server, self.user_agent).await?;
        #[cfg(feature = "tls")]
        if let Some(handshake) = handshake {
            let shaken = handshake.over(stream).await;
            let stream =
                shaken.map_err(|cause| tls::failed_step(&*cause).failed(&self.server, cause))?;
            return Ok(Link::Other(Box::new(stream)));
        }
        Ok(Link::Tcp(stream))
    }
}

/// A TCP connection to the server, or to the proxy that leads to it.
async fn open_route(
    route: Route,
    tcp: HttpConnector<Resolver>,
    server: &Origin,
    user_agent: HeaderValue,
) -> Result<TcpStream, TransportError> {
    match route {
        Route::Direct => open_tcp(tcp, server, Peer::Server).await,
        Route::Forward { proxy, .. } => open_tcp(tcp, &proxy, Peer::Proxy).await,
        Route::Tunnel {
            proxy,
            authorization,
        } => {
            let opened = Opened(Some(open_tcp(tcp, &proxy, Peer::Proxy).await?));
            let headers = HeaderMap::from_iter([(USER_AGENT, user_agent)]);
            let mut tunnel = Tunnel::new(proxy.url().clone(), opened).with_headers(headers);
            if let Some(authorization) = authorization {
                tunnel = tunnel.with_auth(authorization);
            }
            let tunnelled = call(tunnel, server.url()).await;
            tunnelled.map_err(|cause| Step::Tunnel(proxy).failed(server, cause))
        }
        Route::Socks { proxy, user } => {
            let opened = Opened(Some(open_tcp(tcp, &proxy, Peer::Proxy).await?));
            let mut socks = SocksV5::new(proxy.url().clone(), opened);
            if let Some((name, password)) = user {
                socks = socks.with_auth(name, password);
            }
            let tunnelled = call(socks, server.url()).await;
            tunnelled.map_err(|cause| Step::Tunnel(proxy).failed(server, cause))
        }
    }
}

/// Divides this limit among the addresses of a family, so that the next one is tried if one does not answer.
fn share<R>(tcp: &mut HttpConnector<R>, limit: Option<ConnectTimeout>) {
    tcp.set_connect_timeout(limit.map(|ConnectTimeout(limit)| limit));
}

async fn open_tcp(
    tcp: HttpConnector<Resolver>,
    to: &Origin,
    peer: Peer,
) -> Result<TcpStream, TransportError> {
    call(tcp, to.url()).await.map_err(|error| {
        let cause = error.source();
        if cause.is_some_and(|cause| cause.is::<LookupError>()) {
            return Step::Lookup(peer).failed(to, error);
        }
        Step::Tcp(peer).failed(to, error)
    })
}

async fn call<S>(mut connector: S, url: &Uri) -> Result<TcpStream, S::Error>
where
    S: Service<Uri, Response = TokioIo<TcpStream>>,
{
    poll_fn(|cx| connector.poll_ready(cx)).await?;
    Ok(connector.call(url.clone()).await?.into_inner())
}

/// A connection to a proxy that is already open, as the connector of one call.
///
/// hyper-util's proxies would connect by themselves, but their errors do not distinguish an
/// unreachable proxy from a proxy that refuses.
struct Opened(Option<TcpStream>);

impl Service<Uri> for Opened {
    type Response = TokioIo<TcpStream>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        match self.0.take() {
            Some(stream) => ready(Ok(TokioIo::new(stream))),
            None => unreachable!("`call` consumes the connector that it calls"),
        }
    }
}

pub(crate) async fn dial(server: &Origin, dialing: Dialing) -> Result<Link, TransportError> {
    let stream = dialing.await;
    let stream = stream.map_err(|cause| Step::Dial.failed(server, cause))?;
    Ok(Link::Other(stream))
}

/// Opens the link within this timeout. A failure at the end of it is reported as the timeout: the share of
/// the last address ends at the same moment.
pub(crate) async fn within(
    limit: Option<ConnectTimeout>,
    server: &Origin,
    opening: impl Future<Output = Result<Link, TransportError>>,
) -> Result<Link, TransportError> {
    match limit {
        Some(ConnectTimeout(limit)) => {
            let start = Instant::now();
            match timeout(limit, opening).await {
                Ok(Ok(link)) => Ok(link),
                Ok(Err(error)) if start.elapsed() < limit => Err(error),
                Ok(Err(_)) | Err(_) => {
                    let elapsed = io::Error::from(io::ErrorKind::TimedOut);
                    Err(Step::Timeout(limit).failed(server, elapsed))
                }
            }
        }
        None => opening.await,
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::time::Duration;

    use hyper_util::client::legacy::connect::dns::Name;
    use socket2::{Domain, Socket, Type};
    use tokio::net::TcpListener;

    use super::*;

    /// Finds these addresses for each name.
    #[derive(Clone)]
    struct Found(Vec<SocketAddr>);

    impl Service<Name> for Found {
        type Response = std::vec::IntoIter<SocketAddr>;
        type Error = Infallible;
        type Future = Ready<Result<Self::Response, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Name) -> Self::Future {
            ready(Ok(self.0.clone().into_iter()))
        }
    }

    #[tokio::test]
    async fn an_address_after_one_that_does_not_answer_is_reached() {
        // A listener whose queue of connections is full answers no further one.
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        socket.bind(&address.into()).unwrap();
        socket.listen(0).unwrap();
        let silent = socket.local_addr().unwrap().as_socket().unwrap();
        let mut queued = Vec::new();
        while let Ok(stream) = timeout(Duration::from_millis(200), TcpStream::connect(silent)).await
        {
            queued.push(stream.unwrap());
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tcp = HttpConnector::new_with_resolver(Found(vec![silent, address]));
        share(&mut tcp, Some(ConnectTimeout(Duration::from_secs(1))));
        // A port in the URL would replace those of the addresses.
        let url = Uri::from_static("http://a.test/");
        let opened = tidings_testkit::timeout::timeout(Duration::from_secs(60), call(tcp, &url));
        let stream = opened.await.unwrap().unwrap();
        assert_eq!(stream.peer_addr().unwrap(), address);
    }
}
