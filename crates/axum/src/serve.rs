//! Owns `serve`: a router run on hyper's connections, until it is drained.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use tidings_server::Drain;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};

use crate::connection::{Connections, Protocol};

/// How long to wait when no connection can be accepted, as for want of file descriptors: 1 s.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// How long to wait until what is cut has been dropped: 100 ms. A handler that keeps its thread
/// takes longer, and is left to the runtime.
const CUT_PAUSE: Duration = Duration::from_millis(100);

/// Serves a router over HTTP/1.1, one task a connection, until it is drained.
///
/// Handlers find the peer's address in `ConnectInfo<SocketAddr>`; upgrades, such as a WebSocket
/// route's, work. Unlike `axum::serve` it ends connections whose peers stopped reading, also while it
/// runs (see [`write_deadline`](Serve::write_deadline)), and it does not look for HTTP/2 on the same
/// port, which costs each connection 8 kB.
///
/// ```no_run
/// # async fn run(app: axum::Router) -> std::io::Result<()> {
/// use tidings_axum::{serve, shutdown_signal};
///
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
/// serve(listener, app).drain_on(shutdown_signal()).await
/// # }
/// ```
#[doc(alias = "embeddedServer")]
pub fn serve(listener: TcpListener, router: Router) -> Serve {
    Serve(State::Setup(Some(Setup {
        listener,
        connections: Connections {
            router,
            drain: Drain::new(),
            write_deadline: Duration::from_secs(30),
            protocol: Protocol::Http1,
        },
        signal: None,
    })))
}

/// What [`serve`] returns: a future that accepts connections.
///
/// It ends with `Ok` once its [`Drain`] has started, and then all connections are gone or cut;
/// without a drain it never ends. A connection that fails, or whose handler panics, is traced, and
/// accepting goes on.
///
/// # Cancel safety
/// Dropped, it cuts all connections at once but those that left HTTP by an upgrade, and drops their
/// handlers where they wait.
#[must_use = "it serves while it is polled"]
pub struct Serve(State);

enum State {
    /// `None` is only seen while it starts.
    Setup(Option<Setup>),
    Running(Pin<Box<dyn Future<Output = io::Result<()>> + Send>>),
}

struct Setup {
    listener: TcpListener,
    connections: Connections,
    signal: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Serve {
    /// Starts the [`Drain`] once this signal comes, such as
    /// [`shutdown_signal()`](crate::shutdown_signal). None by default.
    ///
    /// Then the listening socket is closed, so that a new client is refused at once; each session is
    /// told when to come back, and ends; other requests are answered; connections are closed as soon
    /// as they have nothing to do. What is left at the drain's deadline, 10 s by default, is cut, and
    /// the server is over at most 100 ms later.
    ///
    /// It never waits for a client. Only a handler that keeps its thread, and so awaits nothing,
    /// cannot be cut: tokio's runtime waits for it when it ends.
    #[doc(alias = "with_graceful_shutdown")]
    pub fn drain_on(self, signal: impl Future<Output = ()> + Send + 'static) -> Self {
        self.set(|setup| setup.signal = Some(Box::pin(signal)))
    }

    /// The drain that ends this server, with settings of its own, or to be started from anywhere.
    ///
    /// Handlers find it in their requests' extensions. Of servers that share a drain, each waits
    /// until all of them are drained.
    ///
    /// ```no_run
    /// # async fn run(listener: tokio::net::TcpListener, app: axum::Router) -> std::io::Result<()> {
    /// use std::time::Duration;
    /// use tidings_axum::{serve, shutdown_signal};
    /// use tidings_server::Drain;
    ///
    /// let drain = Drain::new().deadline(Duration::from_secs(2));
    /// serve(listener, app).drain(drain).drain_on(shutdown_signal()).await
    /// # }
    /// ```
    pub fn drain(self, drain: Drain) -> Self {
        self.set(|setup| setup.connections.drain = drain)
    }

    /// How long a client may take nothing of what is written to it: 30 s by default. Then the
    /// connection is cut, and its handler dropped.
    ///
    /// It is both the write deadline of [`IoDeadline`](tidings_server::IoDeadline) and, where the
    /// platform has it, `TCP_USER_TIMEOUT`, for clients that vanished. One that vanishes while
    /// nothing is written to it is noticed by TCP keep-alive, which asks after 60 s.
    pub fn write_deadline(self, deadline: Duration) -> Self {
        self.set(|setup| setup.connections.write_deadline = deadline)
    }

    /// Also speaks HTTP/2 to clients that begin with it, without TLS. Each connection, also of
    /// HTTP/1.1, costs 8 kB more.
    ///
    /// The write deadline holds for the connection as a whole: a stream that is not read, beside
    /// others that are, is not cut by it. A client from which nothing comes for that long is sent a
    /// PING, and is cut if it does not answer that in as long again.
    ///
    /// Each stream is a task of hyper's own.
    #[cfg(feature = "http2")]
    pub fn http2(self) -> Self {
        self.set(|setup| setup.connections.protocol = Protocol::Any)
    }

    fn set(mut self, set: impl FnOnce(&mut Setup)) -> Self {
        if let State::Setup(Some(setup)) = &mut self.0 {
            set(setup);
        }
        self
    }
}

impl Future for Serve {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let State::Setup(setup) = &mut self.0
            && let Some(setup) = setup.take()
        {
            self.0 = State::Running(Box::pin(run(setup)));
        }
        match &mut self.0 {
            State::Setup(_) => Poll::Pending,
            State::Running(running) => running.as_mut().poll(cx),
        }
    }
}

impl fmt::Debug for Serve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Serve");
        if let State::Setup(Some(setup)) = &self.0 {
            debug.field("listener", &setup.listener);
        }
        debug.finish_non_exhaustive()
    }
}

async fn run(setup: Setup) -> io::Result<()> {
    let connections = Arc::new(setup.connections);
    // Dropped, it aborts what is left.
    let mut tasks = JoinSet::new();
    {
        let mut started = pin!(drain_on(connections.drain.clone(), setup.signal));
        let mut acceptor = Acceptor {
            listener: setup.listener,
            paused_until: None,
        };
        loop {
            tokio::select! {
                () = &mut started => break,
                Some(joined) = tasks.join_next() => trace_panic(joined),
                (stream, peer) = acceptor.accept() => {
                    tasks.spawn(connections.serve(stream, peer));
                }
            }
        }
        // The listening socket is closed here: from now on clients are refused.
    }
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
        tracing::warn!("a handler keeps its thread, and cannot be cut");
    }
    Ok(())
}

/// Ready once the drain has started, by the signal or by whom else.
async fn drain_on(drain: Drain, signal: Option<Pin<Box<dyn Future<Output = ()> + Send>>>) {
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
        tracing::error!(%error, "a handler panicked, and its connection is gone");
    }
}

struct Acceptor {
    listener: TcpListener,
    /// While no connection can be accepted.
    paused_until: Option<Instant>,
}

impl Acceptor {
    /// Waits for the next connection. Cancelled, it loses none.
    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            if let Some(until) = self.paused_until {
                sleep_until(until).await;
                self.paused_until = None;
            }
            match self.listener.accept().await {
                Ok(accepted) => return accepted,
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::error!(%error, "no connection can be accepted");
                    self.paused_until = Some(Instant::now() + ACCEPT_PAUSE);
                }
            }
        }
    }
}

/// Whether the peer is to blame, so that the next connection may well be accepted.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}
