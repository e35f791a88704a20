//! One connection, under deadlines: the router on `tidings-hyper-server`, or on hyper over HTTP/2.

#[cfg(feature = "http2")]
mod beginning;
#[cfg(feature = "tls")]
mod handshake;
#[cfg(feature = "http2")]
mod http2;
mod maybe_tls;
mod request_body;
#[cfg(feature = "http2")]
mod rewound;

use std::any::Any;
use std::convert::Infallible;
use std::fmt;
use std::future::poll_fn;
#[cfg(feature = "tls")]
use std::io;
#[cfg(feature = "http2")]
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
#[cfg(any(feature = "http2", feature = "tls"))]
use std::task::ready;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::BoxError;
use axum::Router;
use axum::body::Body;
use axum::body::Bytes;
use axum::extract::ConnectInfo;
use axum::http::Request;
use axum::response::Response;
use axum::routing::future::RouteFuture;
use hyper::body::Body as HttpBody;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use tidings_hyper_server::{Builder, Connection as Http1Connection};
use tidings_server::{ConnectionLifetime, Drain, IoDeadline, Outgoing};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
#[cfg(feature = "http2")]
use tokio::time::Sleep;
#[cfg(all(feature = "http2", feature = "tls"))]
use tokio::time::sleep;
use tokio::time::sleep_until;

#[cfg(feature = "tls")]
pub(crate) use self::handshake::handshake;
use self::maybe_tls::MaybeTls;
use self::request_body::with_read_deadline;
#[cfg(feature = "http2")]
use self::rewound::Rewound;
use crate::connection_limits::ConnectionPermit;
#[cfg(feature = "tls")]
use crate::tls::{OverTls, Tls};

#[cfg(not(feature = "http2"))]
type Stream<IO> = TokioIo<MaybeTls<IO>>;
#[cfg(feature = "http2")]
type Stream<IO> = TokioIo<Rewound<MaybeTls<IO>>>;

/// A TLS handshake. It returns the connection that speaks HTTP.
#[cfg(feature = "tls")]
type Handshake<IO, A> = Pin<Box<dyn Future<Output = io::Result<Connection<IO, A>>> + Send>>;

/// How long a client may be silent before the kernel probes whether it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// How many bytes wait in the kernel for a client that does not read: 128 KiB. Linux would keep up to 4 MiB
/// for each.
const MAX_UNSENT_BYTES: u32 = 128 * 1024;

/// The most headers of a request, unless set. hyper reserves 64 bytes for each while it parses a head: up to
/// 100 of them on the stack, and more on the heap.
pub(crate) const MAX_HEADERS: usize = 512;

/// The longest deadline a timer is set to: a day. A longer one could overflow the clock.
const LONGEST_DEADLINE: Duration = Duration::from_secs(24 * 60 * 60);

/// What all connections of a server share.
pub(crate) struct Connections {
    pub(crate) router: Router,
    pub(crate) drain: Drain,
    pub(crate) read_deadline: Duration,
    pub(crate) write_deadline: Duration,
    pub(crate) max_lifetime: Option<Duration>,
    pub(crate) max_head_bytes: usize,
    pub(crate) max_headers: usize,
    pub(crate) protocol: Protocol,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<Tls>,
    /// The settings for HTTP/1.1, made from the others for the first connection.
    pub(crate) http1: OnceLock<Builder>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    /// HTTP/1.1 or HTTP/2: the one the client begins with.
    #[cfg(feature = "http2")]
    Any,
}

impl Connections {
    /// Serves one connection until it ends. It has its permit as long. Traces the error if it fails.
    pub(crate) fn serve<IO, A>(
        self: &Arc<Self>,
        io: IO,
        peer: A,
        permit: ConnectionPermit,
    ) -> impl Future<Output = ()> + Send + 'static + use<IO, A>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        A: Clone + fmt::Debug + Send + Sync + 'static,
    {
        let lifetime = self.max_lifetime.and_then(ConnectionLifetime::random);
        let mut connection = self.connection(io, peer.clone(), lifetime);
        let drain = self.drain.clone();
        let mut end_of_life = lifetime.map(|lifetime| Box::pin(sleep_until(lifetime.ends_at())));
        let mut is_shutting_down = false;
        poll_fn(move |cx| {
            // Moves it into this future.
            let _held = &permit;
            let is_over = end_of_life
                .as_mut()
                .is_some_and(|end| end.as_mut().poll(cx).is_ready());
            if is_over {
                end_of_life = None;
            }
            // A drain that starts wakes this task through `IoDeadline`.
            if !is_shutting_down && (is_over || drain.is_started()) {
                is_shutting_down = true;
                connection.graceful_shutdown();
            }
            connection.poll(cx).map(|result| {
                if let Err(error) = result {
                    tracing::debug!(error = &*error, ?peer, "a connection failed");
                }
            })
        })
    }

    fn connection<IO, A>(
        self: &Arc<Self>,
        io: IO,
        peer: A,
        lifetime: Option<ConnectionLifetime>,
    ) -> Connection<IO, A>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        A: Clone + Send + Sync + 'static,
    {
        let mut stream = IoDeadline::new(io)
            .write_deadline(self.write_deadline)
            .drain(&self.drain);
        if let Some(lifetime) = lifetime {
            // Sessions end with the lifetime. This deadline ends the rest.
            stream = stream.lifetime(lifetime.remaining().saturating_add(self.write_deadline));
        }
        let stream = with_tcp_options(stream, self.write_deadline);
        let service = Routes {
            connections: Arc::clone(self),
            peer,
            outgoing: stream.outgoing().clone(),
            lifetime,
            #[cfg(feature = "tls")]
            is_over_tls: self.tls.is_some(),
        };
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return Connection::Handshake(self.handshake(tls, stream, service));
        }
        match self.protocol {
            Protocol::Http1 => Connection::http1(MaybeTls::Plain(stream), service),
            #[cfg(feature = "http2")]
            Protocol::Any => {
                Connection::Beginning(Box::new(beginning::Beginning::new(stream, service)))
            }
        }
    }

    /// The handshake runs in the connection's task, because the next accept must not wait for it.
    #[cfg(feature = "tls")]
    fn handshake<IO, A>(
        &self,
        tls: &Tls,
        stream: IoDeadline<IO>,
        routes: Routes<A>,
    ) -> Handshake<IO, A>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        A: Clone + Send + Sync + 'static,
    {
        let config = match self.protocol {
            Protocol::Http1 => tls.http1(),
            #[cfg(feature = "http2")]
            Protocol::Any => tls.any(),
        };
        let limit = self.read_limit();
        #[cfg(feature = "http2")]
        let first_request = Box::pin(sleep(limit.unwrap_or(LONGEST_DEADLINE)));
        Box::pin(async move {
            let stream = handshake(stream, config, limit).await?;
            #[cfg(feature = "http2")]
            let is_http2 = crate::tls::is_http2(stream.get_ref().1);
            let stream = MaybeTls::Tls(Box::new(stream));
            #[cfg(feature = "http2")]
            if is_http2 {
                let stream = Rewound::new(Vec::new(), stream);
                return Ok(Connection::http2(stream, routes, first_request));
            }
            Ok(Connection::http1(stream, routes))
        })
    }

    fn http1(&self) -> &Builder {
        self.http1.get_or_init(|| {
            Builder::new()
                .timer(TokioTimer::new())
                // Also limits how long a connection waits for its next request.
                .header_read_timeout(self.read_limit())
                .max_header_size(self.max_head_bytes)
                .max_headers(self.max_headers)
        })
    }

    /// How long the server waits for a client that sends a request; `None` for ever.
    fn read_limit(&self) -> Option<Duration> {
        (self.read_deadline < LONGEST_DEADLINE).then_some(self.read_deadline)
    }
}

/// Sets the options of a TCP socket; a connection of another type is returned as it was.
fn with_tcp_options<IO: 'static>(stream: IoDeadline<IO>, user_timeout: Duration) -> IoDeadline<IO> {
    // An `Option`, so that a value can be taken out and put back through a reference to `Any`.
    let mut slot = Some(stream);
    let any: &mut dyn Any = &mut slot;
    if let Some(tcp) = any.downcast_mut::<Option<IoDeadline<TcpStream>>>() {
        *tcp = tcp.take().map(|tcp| {
            if let Err(error) = tcp.get_ref().set_nodelay(true) {
                tracing::debug!(%error, "the connection takes no TCP_NODELAY: small writes may wait");
            }
            tcp.tcp_user_timeout(user_timeout)
                .tcp_keep_alive(KEEP_ALIVE)
                .tcp_max_unsent(MAX_UNSENT_BYTES)
        });
    }
    slot.unwrap_or_else(|| unreachable!("what was taken out was put back"))
}

/// The router, for one peer.
#[derive(Clone)]
struct Routes<A> {
    connections: Arc<Connections>,
    peer: A,
    outgoing: Outgoing,
    lifetime: Option<ConnectionLifetime>,
    #[cfg(feature = "tls")]
    is_over_tls: bool,
}

impl<A, B> Service<Request<B>> for Routes<A>
where
    A: Clone + Send + Sync + 'static,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    type Response = Response;
    type Error = Infallible;
    /// Boxed, as hyper reserves room for it while the response lasts.
    type Future = Pin<Box<RouteFuture<Infallible>>>;

    fn call(&self, request: Request<B>) -> Self::Future {
        let limit = self.connections.read_limit();
        let mut request = request.map(|body| with_read_deadline(body, limit, &self.outgoing));
        let extensions = request.extensions_mut();
        extensions.insert(ConnectInfo(self.peer.clone()));
        extensions.insert(self.connections.drain.clone());
        extensions.insert(self.outgoing.clone());
        if let Some(lifetime) = self.lifetime {
            extensions.insert(lifetime);
        }
        #[cfg(feature = "tls")]
        if self.is_over_tls {
            extensions.insert(OverTls);
        }
        let mut router = self.connections.router.clone();
        Box::pin(tower_service::Service::call(&mut router, request))
    }
}

#[cfg_attr(
    any(feature = "http2", feature = "tls"),
    allow(clippy::large_enum_variant, reason = "the large one is the usual one")
)]
enum Connection<IO, A>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Clone + Send + Sync + 'static,
{
    Http1(Http1Connection<Stream<IO>, Routes<A>, Body>),
    #[cfg(feature = "tls")]
    Handshake(Handshake<IO, A>),
    #[cfg(feature = "http2")]
    Beginning(Box<beginning::Beginning<IO, A>>),
    #[cfg(feature = "http2")]
    Http2(Box<http2::Http2Connection<IO, A>>),
    /// Closed before its client had shown its version.
    #[cfg(any(feature = "http2", feature = "tls"))]
    Closed,
}

impl<IO, A> Connection<IO, A>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Clone + Send + Sync + 'static,
{
    fn http1(stream: MaybeTls<IO>, routes: Routes<A>) -> Self {
        #[cfg(feature = "http2")]
        let stream = Rewound::new(Vec::new(), stream);
        Self::http1_over(TokioIo::new(stream), routes)
    }

    fn http1_over(stream: Stream<IO>, routes: Routes<A>) -> Self {
        let builder = routes.connections.http1().clone();
        Self::Http1(builder.serve_connection(stream, routes))
    }

    /// `timer` limits how long the client may take to send its first request.
    #[cfg(feature = "http2")]
    fn http2(stream: Rewound<MaybeTls<IO>>, routes: Routes<A>, timer: Pin<Box<Sleep>>) -> Self {
        let connection = http2::Http2Connection::new(stream, routes, timer);
        Self::Http2(Box::new(connection))
    }

    fn graceful_shutdown(&mut self) {
        match self {
            Self::Http1(connection) => connection.graceful_shutdown(),
            #[cfg(feature = "tls")]
            Self::Handshake(_) => *self = Self::Closed,
            #[cfg(feature = "http2")]
            Self::Beginning(_) => *self = Self::Closed,
            #[cfg(feature = "http2")]
            Self::Http2(connection) => connection.graceful_shutdown(),
            #[cfg(any(feature = "http2", feature = "tls"))]
            Self::Closed => {}
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        #[cfg(feature = "tls")]
        if let Self::Handshake(handshake) = self {
            *self = ready!(handshake.as_mut().poll(cx))?;
        }
        #[cfg(feature = "http2")]
        if let Self::Beginning(beginning) = self {
            let version = ready!(beginning.poll_version(cx))?;
            if let Self::Beginning(beginning) = mem::replace(self, Self::Closed) {
                *self = beginning.speak(version);
            }
        }
        match self {
            Self::Http1(connection) => Pin::new(connection).poll(cx).map_err(Into::into),
            #[cfg(feature = "http2")]
            Self::Http2(connection) => connection.poll(cx),
            #[cfg(feature = "tls")]
            Self::Handshake(_) => unreachable!("its handshake is over"),
            #[cfg(feature = "http2")]
            Self::Beginning(_) => unreachable!("its version is known"),
            #[cfg(any(feature = "http2", feature = "tls"))]
            Self::Closed => Poll::Ready(Ok(())),
        }
    }
}
