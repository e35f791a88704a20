//! Owns how one connection is served.

#[cfg(feature = "http2")]
mod any;

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::response::Response;
use axum::routing::future::RouteFuture;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use tidings_server::{Drain, IoDeadline, Outgoing};
use tokio::net::TcpStream;

type Stream = TokioIo<IoDeadline<TcpStream>>;

/// How long a client may be silent until the kernel asks whether it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// What all connections of a server have in common.
pub(crate) struct Connections {
    pub(crate) router: Router,
    pub(crate) drain: Drain,
    pub(crate) write_deadline: Duration,
    pub(crate) protocol: Protocol,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    /// Whichever the client begins with.
    #[cfg(feature = "http2")]
    Any,
}

impl Connections {
    /// Serves one connection until it ends, and traces why if it fails.
    pub(crate) fn serve(
        self: &Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
    ) -> impl Future<Output = ()> + Send + 'static {
        let mut connection = self.connection(stream, peer);
        let drain = self.drain.clone();
        let mut is_told = false;
        poll_fn(move |cx| {
            // The stream sees to it that a drain that starts wakes this task.
            if !is_told && drain.is_started() {
                is_told = true;
                connection.graceful_shutdown();
            }
            connection.poll(cx).map(|result| {
                if let Err(error) = result {
                    tracing::debug!(error = &*error, %peer, "a connection failed");
                }
            })
        })
    }

    fn connection(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr) -> Connection {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, %peer, "the connection cannot be told not to delay small writes");
        }
        let stream = IoDeadline::new(stream)
            .write_deadline(self.write_deadline)
            .tcp_user_timeout(self.write_deadline)
            .tcp_keep_alive(KEEP_ALIVE)
            .drain(&self.drain);
        let service = Routes {
            connections: Arc::clone(self),
            peer,
            outgoing: stream.outgoing().clone(),
        };
        let stream = TokioIo::new(stream);
        match self.protocol {
            Protocol::Http1 => Connection::http1(stream, service),
            #[cfg(feature = "http2")]
            Protocol::Any => Connection::Any(any::connection(stream, service)),
        }
    }
}

/// The router, as one peer sees it.
#[derive(Clone)]
struct Routes {
    connections: Arc<Connections>,
    peer: SocketAddr,
    outgoing: Outgoing,
}

impl Service<Request<Incoming>> for Routes {
    type Response = Response;
    type Error = Infallible;
    /// Apart, as hyper keeps room for it while the response lasts.
    type Future = Pin<Box<RouteFuture<Infallible>>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let mut request = request.map(Body::new);
        let extensions = request.extensions_mut();
        extensions.insert(ConnectInfo(self.peer));
        extensions.insert(self.connections.drain.clone());
        extensions.insert(self.outgoing.clone());
        let mut router = self.connections.router.clone();
        Box::pin(tower_service::Service::call(&mut router, request))
    }
}

#[cfg_attr(
    feature = "http2",
    allow(clippy::large_enum_variant, reason = "the large one is the usual one")
)]
enum Connection {
    Http1(http1::UpgradeableConnection<Stream, Routes>),
    #[cfg(feature = "http2")]
    Any(any::AnyConnection),
}

impl Connection {
    fn http1(stream: Stream, service: Routes) -> Self {
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(stream, service);
        Self::Http1(connection.with_upgrades())
    }

    fn graceful_shutdown(&mut self) {
        match self {
            Self::Http1(connection) => Pin::new(connection).graceful_shutdown(),
            #[cfg(feature = "http2")]
            Self::Any(connection) => connection.graceful_shutdown(),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), axum::BoxError>> {
        match self {
            Self::Http1(connection) => Pin::new(connection).poll(cx).map_err(Into::into),
            #[cfg(feature = "http2")]
            Self::Any(connection) => connection.poll(cx),
        }
    }
}
