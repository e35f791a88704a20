//! `serve`: runs a router on the connections of a listener until it is drained.

use std::fmt;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use tidings_server::Drain;
use tokio::net::TcpListener;
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;

use crate::connection::{Connections, MAX_HEADERS, Protocol};
use crate::connection_limits::{ConnectionLimits, Refusals};
#[cfg(feature = "tls")]
use crate::tls::Tls;

/// How long the server waits, after it has cut its connections, until they are dropped: 100 ms. A handler
/// that blocks its thread takes longer, and is left to the runtime.
const CUT_PAUSE: Duration = Duration::from_millis(100);

/// Serves a router over HTTP/1.1, one task per connection, until it is drained.
///
/// ```no_run
/// # async fn run(app: axum::Router) -> std::io::Result<()> {
/// use tidings_axum::{serve, shutdown_signal};
///
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
/// serve(listener, app).drain_on(shutdown_signal()).await
/// # }
/// ```
///
/// It takes the same listeners as `axum::serve`: a `TcpListener`, a `UnixListener`, or your own
/// [`Listener`]. Handlers find the peer's address in `ConnectInfo<L::Addr>`, which is
/// `ConnectInfo<SocketAddr>` over TCP. Upgrades work, such as those of a WebSocket route.
///
/// Unlike `axum::serve`, it cuts clients that stop reading (see
/// [`write_deadline`](Serve::write_deadline)), and clients that do not send their request (see
/// [`read_deadline`](Serve::read_deadline)). It speaks HTTP/2 only if you [ask for it](Serve::http2).
///
/// A request whose head is larger than [`max_head_bytes`](Serve::max_head_bytes), 32 KiB by default, or has
/// more than [`max_headers`](Serve::max_headers), 512 by default, is answered 431. Any number of connections
/// may be open, unless you [limit](Serve::max_connections) it.
///
/// # Listeners
/// A listener handles its own errors. Those of axum, over TCP and Unix sockets, trace an error such as
/// too many open files, and accept again after 1 s; open connections continue meanwhile. `accept` is
/// cancelled only when the server drains, so it need not be cancel safe. It is called for one connection at
/// a time, so a slow step in it, such as a TLS handshake, delays all other clients; with the feature `tls`
/// the server does the handshakes itself, beside each other. If it panics, so does the server, and all
/// connections are cut.
///
/// | setting | TCP | other connections |
/// | --- | --- | --- |
/// | read and write deadline, lifetime, drain | yes | yes |
/// | `TCP_NODELAY`, so that small events leave at once | yes | set it in the listener |
/// | `TCP_USER_TIMEOUT`, TCP keep-alive | yes | set them in the listener |
/// | `TCP_NOTSENT_LOWAT`: on Linux, at most 128 KiB wait unsent for a client that does not read | yes | set it in the listener |
///
/// TCP here means each listener whose `Io` is a [`TcpStream`](tokio::net::TcpStream). A listener whose `Io`
/// wraps one can set these options with socket2 before it wraps it. Remove the file of a Unix socket
/// yourself, before you bind it again.
#[doc(alias = "embeddedServer")]
pub fn serve<L>(listener: L, router: Router) -> Serve<L>
where
    L: Listener<Addr: Clone + fmt::Debug + Sync + 'static>,
{
    Serve {
        listener,
        connections: Connections {
            router,
            drain: Drain::new(),
            read_deadline: Duration::from_secs(30),
            write_deadline: Duration::from_secs(30),
            max_lifetime: None,
            max_head_bytes: 32 * 1024,
            max_headers: MAX_HEADERS,
            protocol: Protocol::Http1,
            #[cfg(feature = "tls")]
            tls: None,
            http1: OnceLock::new(),
        },
        limits: ConnectionLimits::default(),
        signal: None,
    }
}

/// A server that is not started; [`serve`] returns it. Await it to run it.
///
/// It ends with `Ok` after its [`Drain`] has started and each connection is closed or cut. Without a drain
/// it never ends. A connection that fails, or whose handler panics, is traced, and the server continues.
///
/// `tokio::select!` takes it as it is; a function that needs a future, such as `tokio::spawn`, takes
/// `serve(listener, app).into_future()`.
#[must_use = "a server runs when it is awaited"]
pub struct Serve<L: Listener = TcpListener> {
    listener: L,
    connections: Connections,
    limits: ConnectionLimits<L::Addr>,
    signal: Option<Signal>,
}

type Signal = Pin<Box<dyn Future<Output = ()> + Send>>;

impl<L: Listener> Serve<L> {
    /// Starts the [`Drain`] when this future is ready, such as
    /// [`shutdown_signal()`](crate::shutdown_signal). Default: none.
    ///
    /// Then the listener is closed, so that new clients are refused at once. Each session sends its client
    /// a time to reconnect, and ends. Other requests are answered. A connection is closed as soon as it is
    /// idle. Connections that are open at the drain's deadline, 10 s by default, are cut, and the server
    /// ends at most 100 ms later.
    ///
    /// It never waits for a client. Only a handler that blocks its thread, and so awaits nothing, cannot be
    /// cut: tokio's runtime waits for it when the runtime ends.
    #[doc(alias = "with_graceful_shutdown")]
    pub fn drain_on(mut self, signal: impl Future<Output = ()> + Send + 'static) -> Self {
        self.signal = Some(Box::pin(signal));
        self
    }

    /// Sets the drain that ends this server: one with other settings, or one that you start yourself.
    /// Default: `Drain::new()`.
    ///
    /// Handlers find it in the extensions of their requests. Servers that share a drain end together: each
    /// waits until all of them are drained.
    ///
    /// ```no_run
    /// # async fn run(listener: tokio::net::TcpListener, app: axum::Router) -> std::io::Result<()> {
    /// use std::time::Duration;
    /// use tidings_axum::{Drain, serve, shutdown_signal};
    ///
    /// let drain = Drain::new().deadline(Duration::from_secs(2));
    /// serve(listener, app).drain(&drain).drain_on(shutdown_signal()).await
    /// # }
    /// ```
    pub fn drain(mut self, drain: &Drain) -> Self {
        self.connections.drain = drain.clone();
        self
    }

    /// Limits how long the server waits for a request. Default: 30 s. `Duration::MAX` disables the limit.
    ///
    /// | waits for | counts from | at the limit |
    /// | --- | --- | --- |
    /// | a TLS handshake, however slowly the client sends | the connection's start | the connection is closed |
    /// | the first request | the connection's start | the connection is closed |
    /// | the head of a request, over HTTP/1.1 | the connection's start, its TLS handshake or the previous response, however slowly the client sends | the connection is closed |
    /// | the body of a request, while a handler reads it | its latest byte | the handler receives an error of the kind `TimedOut`; the extractors of axum answer 400 |
    /// | the next stream, over HTTP/2 | the end of the last stream | the connection is closed with GOAWAY |
    ///
    /// It never ends an open session, nor a connection that left HTTP by an upgrade.
    pub fn read_deadline(mut self, deadline: Duration) -> Self {
        self.connections.read_deadline = deadline;
        self
    }

    /// Limits how long a client may read nothing while the server has bytes for it. Default: 30 s. Then the
    /// connection is cut, and its handler is dropped.
    ///
    /// It sets the write deadline of [`IoDeadline`](crate::IoDeadline) and, over TCP on the platforms that
    /// have it, `TCP_USER_TIMEOUT`, for clients that vanished. TCP keep-alive finds a client that vanishes
    /// while nothing is written to it: the kernel sends its first probe after 60 s of silence.
    ///
    /// Over HTTP/2 it also limits each stream, by a [`StreamDeadline`](crate::StreamDeadline).
    pub fn write_deadline(mut self, deadline: Duration) -> Self {
        self.connections.write_deadline = deadline;
        self
    }

    /// Limits how long a connection may last. Default: no limit.
    ///
    /// Each connection has a random time from 80 to 100 % of this. Then it accepts no further request, and
    /// each of its sessions is closed, as by [`close`](crate::Sender::close), so that its client
    /// reconnects. Sessions that [may finish](crate::SessionOptions::may_finish), other responses and
    /// upgraded connections have one [`write_deadline`](Self::write_deadline) more. Then the connection is
    /// cut.
    pub fn max_lifetime(mut self, max_lifetime: Duration) -> Self {
        self.connections.max_lifetime = Some(max_lifetime);
        self
    }

    /// Sets the largest head of a request, in bytes. Default: 32 KiB; at least 1 KiB, at most 256 KiB. A
    /// larger one is answered 431, and over HTTP/1.1 the connection is closed. Sessions refuse heads over 32
    /// KiB whatever this is.
    ///
    /// The head is the request line and all headers. A connection that has sent a part of it takes as much
    /// memory, for at most the [`read_deadline`](Self::read_deadline).
    pub fn max_head_bytes(mut self, bytes: usize) -> Self {
        self.connections.max_head_bytes = bytes.clamp(1024, 256 * 1024);
        self
    }

    /// Sets the maximum number of headers of a request over HTTP/1.1. Default, and at most: 512. A request
    /// with more is answered 431, and the connection is closed.
    ///
    /// With 100 or fewer, the server needs no memory from the heap to parse a head. That saves about 5 % of a
    /// small request.
    pub fn max_headers(mut self, count: usize) -> Self {
        self.connections.max_headers = count.clamp(1, MAX_HEADERS);
        self
    }

    /// Sets the maximum number of open connections. Default: no limit, so the operating system's limit of
    /// open files holds, at which new clients wait without an answer.
    ///
    /// A connection over the limit is answered 503 with `Retry-After`, a random time from 5 s to 10 s, when
    /// its client sends a request within 1 s; then it is closed. A GET whose `Accept` names
    /// `text/event-stream` is asked to [come back later](tidings_server#come-back-later) instead. At most 128
    /// such connections are open beside the others, for at most 1 s each. Further ones are closed at once.
    /// Over TLS the answer is encrypted, and its handshake takes a part of the 1 s. The metric
    /// `tidings_axum_connections_refused_total` counts all of them, with the label `limit`: `total` or `key`.
    ///
    /// A connection that leaves HTTP by an upgrade counts no more.
    ///
    /// To keep room for other requests than those for sessions, limit the
    /// [sessions](crate::Limits::max_sessions) to less.
    pub fn max_connections(mut self, max: usize) -> Self {
        self.limits.max = max;
        self
    }

    /// Sets the maximum number of open connections whose peers have the same key, such as an address. A peer
    /// without a key counts only towards the [total](Self::max_connections). Default: no limit. At the limit,
    /// a connection is refused as at the limit in total.
    ///
    /// ```no_run
    /// # async fn run(listener: tokio::net::TcpListener, app: axum::Router) -> std::io::Result<()> {
    /// use tidings_axum::serve;
    ///
    /// serve(listener, app)
    ///     .max_connections(10_000)
    ///     .max_connections_per_key(100, |peer| Some(peer.ip().to_string()))
    ///     .await
    /// # }
    /// ```
    ///
    /// Behind a proxy, all connections have the address of the proxy. One client of IPv6 usually has all
    /// addresses of a network of 64 bits.
    pub fn max_connections_per_key(
        mut self,
        max: usize,
        key: impl Fn(&L::Addr) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.limits.max_per_key(max, key);
        self
    }

    /// Whether the server also accepts HTTP/2. Default: `false`. An HTTP/1.1 client costs the same with it.
    ///
    /// Over TLS, the server prefers it in the handshake, and a client that names no protocol there speaks
    /// HTTP/1.1. Without TLS, a client speaks it by beginning with it.
    ///
    /// The write deadline holds for the connection as a whole, and for each stream: a stream that its client
    /// does not read is reset, and the others continue. A client that sends nothing for that long receives a
    /// PING, and is cut if it does not answer within the same time again. A connection without streams is
    /// closed after the read deadline.
    ///
    /// hyper runs each stream in a task of its own. A panic of a handler resets its stream, and is traced.
    #[cfg(feature = "http2")]
    pub fn http2(mut self, http2: bool) -> Self {
        self.connections.protocol = if http2 {
            Protocol::Any
        } else {
            Protocol::Http1
        };
        self
    }
}

#[cfg(feature = "tls")]
impl<L: Listener> Serve<L> {
    /// Serves HTTPS with this certificate: each connection begins with a TLS handshake. Default: no TLS.
    ///
    /// The handshakes run beside each other, under the [`read_deadline`](Self::read_deadline) and the limits
    /// of connections. A drain cuts the connections that are still in their handshake. A handshake that fails
    /// is traced on the level `DEBUG`.
    ///
    /// Handlers find [`OverTls`](crate::OverTls) in the extensions of their requests. A client that speaks
    /// HTTP without TLS is answered 400, and its connection is closed.
    ///
    /// The end of each connection is told by a `close_notify` of TLS, unless the connection is cut.
    pub fn tls(mut self, tls: &Tls) -> Self {
        self.connections.tls = Some(tls.clone());
        self
    }
}

impl<L> IntoFuture for Serve<L>
where
    L: Listener<Addr: Clone + fmt::Debug + Sync + 'static>,
{
    type Output = io::Result<()>;
    type IntoFuture = ServeFuture;

    fn into_future(self) -> ServeFuture {
        ServeFuture(Box::pin(run(self)))
    }
}

impl<L: Listener + fmt::Debug> fmt::Debug for Serve<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serve")
            .field("listener", &self.listener)
            .finish_non_exhaustive()
    }
}

/// A server that runs while it is polled: the future of a [`Serve`].
///
/// # Cancel safety
/// If you drop it, all connections are cut at once, except those that left HTTP by an upgrade, and their
/// handlers are dropped at their current await.
#[must_use = "a server runs while it is polled"]
pub struct ServeFuture(Pin<Box<dyn Future<Output = io::Result<()>> + Send>>);

impl Future for ServeFuture {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for ServeFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServeFuture").finish_non_exhaustive()
    }
}

async fn run<L>(serve: Serve<L>) -> io::Result<()>
where
    L: Listener<Addr: Clone + fmt::Debug + Sync + 'static>,
{
    let connections = Arc::new(serve.connections);
    // Aborts the tasks that are left when it is dropped.
    let mut tasks = JoinSet::new();
    let accepting = Accepting {
        listener: serve.listener,
        limits: serve.limits,
        refusals: Refusals::default(),
    };
    let started = drain_on(connections.drain.clone(), serve.signal);
    accepting.run(started, &connections, &mut tasks).await;
    let mut finished = pin!(connections.drain.finished());
    loop {
        tokio::select! {
            biased;
            _ = &mut finished => break,
            Some(joined) = tasks.join_next() => trace_panic(joined),
        }
    }
    tasks.abort_all();
    let dropped = async { while tasks.join_next().await.is_some() {} };
    if timeout(CUT_PAUSE, dropped).await.is_err() {
        tracing::warn!("a handler blocks its thread and cannot be cut");
    }
    Ok(())
}

/// What a server has only while it accepts connections.
struct Accepting<L: Listener> {
    listener: L,
    limits: ConnectionLimits<L::Addr>,
    refusals: Refusals,
}

impl<L> Accepting<L>
where
    L: Listener<Addr: Clone + fmt::Debug + Sync + 'static>,
{
    /// Returns when the drain has started. The listener is closed then, so that new clients are refused.
    async fn run(
        mut self,
        started: impl Future<Output = ()>,
        connections: &Arc<Connections>,
        tasks: &mut JoinSet<()>,
    ) {
        let mut started = pin!(started);
        loop {
            // Kept over the end of other tasks: a listener may have accepted, and be busy with a handshake.
            let mut accept = pin!(self.listener.accept());
            let (io, peer) = loop {
                tokio::select! {
                    () = &mut started => return,
                    Some(joined) = tasks.join_next() => trace_panic(joined),
                    accepted = &mut accept => break accepted,
                }
            };
            match self.limits.admit(&peer) {
                Ok(permit) => {
                    tasks.spawn(connections.serve(io, peer, permit));
                }
                Err(limit) => self.refusals.refuse(io, &peer, limit, connections),
            }
        }
    }
}

/// Ready when the drain has started, by the signal or by another handle.
async fn drain_on(drain: Drain, signal: Option<Signal>) {
    let started = drain.started();
    if let Some(signal) = signal {
        tokio::select! {
            () = signal => drain.start(),
            () = started => {}
        }
    } else {
        started.await;
    }
}

fn trace_panic(joined: Result<(), JoinError>) {
    if let Err(error) = joined
        && error.is_panic()
    {
        tracing::error!(%error, "a handler panicked, and its connection is closed");
    }
}
