//! Owns `AnyConnection`: one that speaks what its client begins with.

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
use tokio::time::{Sleep, sleep};

use super::{Routes, Stream};

/// How long a client may take until its first request is there: 30 s. It is what hyper grants over
/// HTTP/1.1, where this looks at the first bytes before hyper does.
const FIRST_REQUEST: Duration = Duration::from_secs(30);

/// What comes after is no deadline, and more than timers can be set to: a day.
const LONGEST_DEADLINE: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) struct AnyConnection {
    connection: Pin<Box<UpgradeableConnection<'static, Stream, Asked, TokioExecutor>>>,
    is_asked: Arc<AtomicBool>,
    /// `None` once there was a request.
    patience: Option<Pin<Box<Sleep>>>,
}

pub(super) fn connection(stream: Stream, routes: Routes) -> AnyConnection {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new());
    // A client that is stopped is sent no more than its windows take, which may all fit into the
    // socket: then no write waits, and only an answer that does not come tells.
    let deadline = routes.connections.write_deadline.min(LONGEST_DEADLINE);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(deadline)
        .keep_alive_timeout(deadline);
    let is_asked = Arc::default();
    let service = Asked {
        routes,
        is_asked: Arc::clone(&is_asked),
    };
    let connection = builder.serve_connection_with_upgrades(stream, service);
    AnyConnection {
        connection: Box::pin(connection.into_owned()),
        is_asked,
        patience: Some(Box::pin(sleep(FIRST_REQUEST))),
    }
}

impl AnyConnection {
    pub(super) fn graceful_shutdown(&mut self) {
        self.connection.as_mut().graceful_shutdown();
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let poll = self.connection.as_mut().poll(cx);
        if poll.is_ready() {
            return poll;
        }
        if let Some(patience) = &mut self.patience {
            if self.is_asked.load(Ordering::Relaxed) {
                self.patience = None;
            } else if patience.as_mut().poll(cx).is_ready() {
                let error = io::Error::new(io::ErrorKind::TimedOut, "no request came");
                return Poll::Ready(Err(error.into()));
            }
        }
        Poll::Pending
    }
}

/// The routes, which remember that they were asked.
#[derive(Clone)]
struct Asked {
    routes: Routes,
    is_asked: Arc<AtomicBool>,
}

impl Service<Request<Incoming>> for Asked {
    type Response = <Routes as Service<Request<Incoming>>>::Response;
    type Error = <Routes as Service<Request<Incoming>>>::Error;
    type Future = <Routes as Service<Request<Incoming>>>::Future;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.is_asked.store(true, Ordering::Relaxed);
        self.routes.call(request)
    }
}
