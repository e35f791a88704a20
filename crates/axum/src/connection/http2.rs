//! One HTTP/2 connection: its streams under deadlines of their own, and its end when it has none.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use axum::BoxError;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::future::RouteFuture;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2::{Builder, Connection};
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use tidings_server::{StreamBody, StreamDeadline};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep};

use super::maybe_tls::MaybeTls;
use super::rewound::Rewound;
use super::{LONGEST_DEADLINE, Routes};

/// The most open streams of a connection. Further ones are refused until one ends.
const MAX_STREAMS: u32 = 200;

/// The most bytes of a stream's response that wait in hyper for a client that does not read: 12.5 MiB for
/// all streams of a connection together.
const MAX_SEND_BUFFER: usize = 64 * 1024;

/// The most bytes of request bodies that a connection holds for handlers that do not read them.
const RECEIVE_WINDOW: u32 = 1024 * 1024;

/// The most streams that a client may open and reset before the server has looked at them. A client with
/// more receives GOAWAY.
const MAX_PENDING_RESETS: usize = 20;

/// The most streams, in a connection's life, that the client makes the server reset by wrong frames. A client
/// with more receives GOAWAY.
const MAX_WRONG_STREAMS: usize = 1024;

/// What HTTP/2 counts for each header beside its name and its value, when it compares a head with a limit.
const HEADER_OVERHEAD: usize = 32;

type Http2<IO, A> = Connection<TokioIo<Rewound<MaybeTls<IO>>>, Http2Routes<A>, StreamExecutor>;

pub(super) struct Http2Connection<IO, A>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Clone + Send + Sync + 'static,
{
    connection: Pin<Box<Http2<IO, A>>>,
    streams: Arc<Streams>,
    /// How long the connection may have no stream; `None` for ever.
    idle_limit: Option<Duration>,
    /// How long it may take to close after that.
    closing_limit: Duration,
    /// Set while the connection has no stream.
    idle_timer: IdleTimer,
    is_closing: bool,
}

/// Allocated when the connection is accepted. Runs while the connection has no stream.
struct IdleTimer {
    sleep: Pin<Box<Sleep>>,
    is_running: bool,
}

impl<IO, A> Http2Connection<IO, A>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Clone + Send + Sync + 'static,
{
    /// `timer` limits how long the client may take to send its first request.
    pub(super) fn new(
        stream: Rewound<MaybeTls<IO>>,
        routes: Routes<A>,
        timer: Pin<Box<Sleep>>,
    ) -> Self {
        let connections = &routes.connections;
        let deadline = connections.write_deadline.min(LONGEST_DEADLINE);
        let idle_limit = connections.read_limit();
        let streams = Arc::<Streams>::default();
        let executor = StreamExecutor {
            deadline: StreamDeadline::new().write_deadline(connections.write_deadline),
            streams: Arc::clone(&streams),
        };
        let list_limit = connections.max_head_bytes + connections.max_headers * HEADER_OVERHEAD;
        let connection = Builder::new(executor)
            .timer(TokioTimer::new())
            // A client that is stopped is sent no more than its windows allow, which may all fit into the
            // socket's buffer. Then no write waits, and only an unanswered PING reveals the client.
            .keep_alive_interval(deadline)
            .keep_alive_timeout(deadline)
            .max_concurrent_streams(MAX_STREAMS)
            .max_send_buf_size(MAX_SEND_BUFFER)
            .initial_stream_window_size(RECEIVE_WINDOW)
            .initial_connection_window_size(RECEIVE_WINDOW)
            .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
            .max_local_error_reset_streams(MAX_WRONG_STREAMS)
            // Also limits the frames of a head: a client that continues it without end receives GOAWAY.
            .max_header_list_size(u32::try_from(list_limit).unwrap_or(u32::MAX))
            .serve_connection(TokioIo::new(stream), Http2Routes(routes));
        Self {
            connection: Box::pin(connection),
            streams,
            idle_limit,
            closing_limit: deadline,
            idle_timer: IdleTimer {
                sleep: timer,
                is_running: true,
            },
            is_closing: false,
        }
    }

    pub(super) fn graceful_shutdown(&mut self) {
        self.connection.as_mut().graceful_shutdown();
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        loop {
            if let Poll::Ready(ended) = self.connection.as_mut().poll(cx) {
                return Poll::Ready(ended.map_err(Into::into));
            }
            ready!(self.poll_idle(cx));
            if !self.streams.were_any.load(Ordering::Relaxed) {
                return Poll::Ready(Err(timed_out("the client sent no request").into()));
            }
            if self.is_closing {
                return Poll::Ready(Err(timed_out("an idle connection does not close").into()));
            }
            self.is_closing = true;
            let deadline = Instant::now() + self.closing_limit;
            self.idle_timer.sleep.as_mut().reset(deadline);
            self.graceful_shutdown();
        }
    }

    /// Ready when the connection has had no stream for too long.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(limit) = self.idle_limit else {
            return Poll::Pending;
        };
        let timer = &mut self.idle_timer;
        if self.streams.has_open(cx.waker()) {
            timer.is_running = false;
            return Poll::Pending;
        }
        if !timer.is_running {
            timer.is_running = true;
            timer.sleep.as_mut().reset(Instant::now() + limit);
        }
        timer.sleep.as_mut().poll(cx)
    }
}

fn timed_out(message: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, message)
}

/// The streams of a connection.
#[derive(Debug, Default)]
struct Streams {
    open: AtomicUsize,
    were_any: AtomicBool,
    /// The waker of the connection's task, woken when the last stream ends.
    connection: Mutex<Option<Waker>>,
}

impl Streams {
    /// Whether there are open streams. This waker is woken when the last one ends.
    fn has_open(&self, waker: &Waker) -> bool {
        {
            let mut connection = self
                .connection
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if !connection
                .as_ref()
                .is_some_and(|known| known.will_wake(waker))
            {
                *connection = Some(waker.clone());
            }
        }
        // Read after the waker was registered, so that no end in between is missed.
        self.open.load(Ordering::Acquire) > 0
    }
}

/// Counts a stream until it is dropped.
struct OpenStream(Arc<Streams>);

impl Drop for OpenStream {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            let connection = self.0.connection.lock();
            let waker = connection.unwrap_or_else(PoisonError::into_inner).clone();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

/// Runs each stream of a connection in a task of its own, as hyper demands it.
#[derive(Clone)]
struct StreamExecutor {
    deadline: StreamDeadline,
    streams: Arc<Streams>,
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for StreamExecutor {
    fn execute(&self, stream: F) {
        self.streams.open.fetch_add(1, Ordering::Relaxed);
        self.streams.were_any.store(true, Ordering::Relaxed);
        let open = OpenStream(Arc::clone(&self.streams));
        let stream = self.deadline.run(stream);
        tokio::spawn(async move {
            let _open = open;
            stream.await;
        });
    }
}

/// The routes, for requests over HTTP/2.
struct Http2Routes<A>(Routes<A>);

impl<A: Clone + Send + Sync + 'static> Service<Request<Incoming>> for Http2Routes<A> {
    type Response = Response<StreamBody<Body>>;
    type Error = Infallible;
    type Future = Http2Response;

    fn call(&self, request: Request<Incoming>) -> Http2Response {
        if head_bytes(&request) > self.0.connections.max_head_bytes {
            return Http2Response::Refused;
        }
        Http2Response::Routed(self.0.call(request))
    }
}

/// The size that the head of this request would have over HTTP/1.1, almost.
fn head_bytes(request: &Request<Incoming>) -> usize {
    let uri = request.uri();
    let target = uri
        .path_and_query()
        .map_or(0, |target| target.as_str().len());
    let host = uri.authority().map_or(0, |host| host.as_str().len());
    let fields = |headers: &HeaderMap| {
        let fields = headers.iter();
        fields
            .map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len())
            .sum::<usize>()
    };
    request.method().as_str().len() + target + host + fields(request.headers())
}

enum Http2Response {
    /// The head of the request is too large.
    Refused,
    Routed(Pin<Box<RouteFuture<Infallible>>>),
}

impl Future for Http2Response {
    type Output = Result<Response<StreamBody<Body>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = match &mut *self {
            Self::Refused => {
                let mut response = Response::new(Body::empty());
                *response.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
                response
            }
            Self::Routed(route) => match ready!(route.as_mut().poll(cx)) {
                Ok(response) => response,
            },
        };
        Poll::Ready(Ok(response.map(StreamBody::new)))
    }
}
