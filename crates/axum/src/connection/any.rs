//! A connection that speaks the version its client begins with: HTTP/1.1 or HTTP/2.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::BoxError;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto::{Builder, UpgradeableConnection};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Sleep, sleep};

use super::{Routes, Stream};

/// How long a client may take to send its first request: 30 s. hyper has the same limit over HTTP/1.1, but
/// it starts only after the first bytes have shown the version.
const FIRST_REQUEST: Duration = Duration::from_secs(30);

/// The longest deadline a timer is set to: a day. A longer one could overflow the clock.
const LONGEST_DEADLINE: Duration = Duration::from_secs(24 * 60 * 60);

type AutoConnection<IO, A> =
    UpgradeableConnection<'static, Stream<IO>, NotedRoutes<A>, TokioExecutor>;

pub(super) struct AnyConnection<IO, A>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Clone + Send + Sync + 'static,
{
    connection: Pin<Box<AutoConnection<IO, A>>>,
    was_requested: Arc<AtomicBool>,
    /// `None` after the first request.
    first_request_timer: Option<Pin<Box<Sleep>>>,
}

pub(super) fn connection<IO, A>(stream: Stream<IO>, routes: Routes<A>) -> AnyConnection<IO, A>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Clone + Send + Sync + 'static,
{
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new());
    // A client that is stopped is sent no more than its windows allow, which may all fit into the socket's
    // buffer. Then no write waits, and only an unanswered PING reveals the client.
    let deadline = routes.connections.write_deadline.min(LONGEST_DEADLINE);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(deadline)
        .keep_alive_timeout(deadline);
    let was_requested = Arc::default();
    let service = NotedRoutes {
        routes,
        was_requested: Arc::clone(&was_requested),
    };
    let connection = builder.serve_connection_with_upgrades(stream, service);
    AnyConnection {
        connection: Box::pin(connection.into_owned()),
        was_requested,
        first_request_timer: Some(Box::pin(sleep(FIRST_REQUEST))),
    }
}

impl<IO, A> AnyConnection<IO, A>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Clone + Send + Sync + 'static,
{
    pub(super) fn graceful_shutdown(&mut self) {
        self.connection.as_mut().graceful_shutdown();
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let poll = self.connection.as_mut().poll(cx);
        if poll.is_ready() {
            return poll;
        }
        if let Some(timer) = &mut self.first_request_timer {
            if self.was_requested.load(Ordering::Relaxed) {
                self.first_request_timer = None;
            } else if timer.as_mut().poll(cx).is_ready() {
                let error = io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the client sent no request within 30 s",
                );
                return Poll::Ready(Err(error.into()));
            }
        }
        Poll::Pending
    }
}

/// The routes, with a note of whether there was a request.
#[derive(Clone)]
struct NotedRoutes<A> {
    routes: Routes<A>,
    was_requested: Arc<AtomicBool>,
}

impl<A: Clone + Send + Sync + 'static> Service<Request<Incoming>> for NotedRoutes<A> {
    type Response = <Routes<A> as Service<Request<Incoming>>>::Response;
    type Error = <Routes<A> as Service<Request<Incoming>>>::Error;
    type Future = <Routes<A> as Service<Request<Incoming>>>::Future;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.was_requested.store(true, Ordering::Relaxed);
        self.routes.call(request)
    }
}
