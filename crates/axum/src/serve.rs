//! Owns `serve`: a router run on hyper's HTTP/1 connection.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Sleep, sleep};
use tower_service::Service;

/// How long to wait when no connection can be accepted, as for want of file descriptors: 1 s.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Serves a router over HTTP/1.1, one task a connection, for as long as it is polled.
///
/// Handlers find the peer's address in `ConnectInfo<SocketAddr>`; upgrades, such as a WebSocket
/// route's, work. Unlike `axum::serve` it does not look for HTTP/2 on the same port, which costs
/// each connection 8 kB.
///
/// ```no_run
/// # async fn run(app: axum::Router) -> std::io::Result<()> {
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
/// tidings_axum::serve(listener, app).await
/// # }
/// ```
///
/// Dropped, it accepts no more; open connections go on until they end.
pub fn serve(listener: TcpListener, router: Router) -> Serve {
    Serve {
        listener,
        router,
        pause: None,
    }
}

/// What [`serve`] returns: a future that accepts connections.
///
/// It never ends today: a connection that fails is traced, and accepting goes on.
#[must_use = "it serves while it is polled"]
pub struct Serve {
    listener: TcpListener,
    router: Router,
    /// While no connection can be accepted.
    pause: Option<Pin<Box<Sleep>>>,
}

impl Future for Serve {
    type Output = io::Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if let Some(pause) = &mut this.pause {
                ready!(pause.as_mut().poll(cx));
                this.pause = None;
            }
            match ready!(this.listener.poll_accept(cx)) {
                Ok((stream, peer)) => {
                    tokio::spawn(serve_connection(stream, peer, this.router.clone()));
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::error!(%error, "no connection can be accepted");
                    this.pause = Some(Box::pin(sleep(ACCEPT_PAUSE)));
                }
            }
        }
    }
}

impl fmt::Debug for Serve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serve")
            .field("listener", &self.listener)
            .finish_non_exhaustive()
    }
}

async fn serve_connection(stream: TcpStream, peer: SocketAddr, router: Router) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, %peer, "the connection cannot be told not to delay small writes");
    }
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        router.clone().call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    if let Err(error) = connection.await {
        tracing::debug!(%error, %peer, "a connection failed");
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
