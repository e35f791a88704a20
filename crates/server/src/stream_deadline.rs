//! `StreamDeadline`: ends the streams of HTTP/2 connections that their clients do not read.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::time::Instant;

use crate::timer::Timer;
use crate::work::panic_message;

/// Ends the streams of HTTP/2 connections that their clients do not read.
///
/// [`IoDeadline`](crate::IoDeadline) sees whole connections. A client that reads one stream and leaves the
/// window of another shut keeps its connection moving, so the unread stream would keep its session, its
/// handler and its place in the [`Limits`](crate::Limits) for ever. This type ends such a stream with
/// `RST_STREAM`, and drops its handler.
///
/// A stream that has nothing to send lives, however long it is quiet. So does a stream whose client reads
/// slowly: each byte that leaves restarts the time. If a session has a
/// [lifetime](crate::SessionOptions::max_lifetime), its stream ends at the latest one write deadline after
/// it, however slowly its client reads.
///
/// hyper runs each stream of an HTTP/2 connection in a task of its own, which it gives to an executor.
/// `tidings_axum::serve` does what this example does; `axum::serve` takes no executor, so nothing ends such
/// streams there.
///
/// ```no_run
/// use std::convert::Infallible;
///
/// use hyper::body::Incoming;
/// use hyper::rt::Executor;
/// use hyper::server::conn::http2;
/// use hyper::service::service_fn;
/// use hyper_util::rt::{TokioIo, TokioTimer};
/// use tidings_server::{Event, IoDeadline, SseRequest, StreamBody, StreamDeadline};
///
/// #[derive(Clone)]
/// struct Streams(StreamDeadline);
///
/// impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
///     fn execute(&self, stream: F) {
///         tokio::spawn(self.0.run(stream));
///     }
/// }
///
/// # async fn run(stream: tokio::net::TcpStream) -> hyper::Result<()> {
/// let service = service_fn(async |request: http::Request<Incoming>| {
///     let (parts, _body) = request.into_parts();
///     let response = SseRequest::new(parts).open(async |session| {
///         session.send(Event::new("hello")).await?;
///         Ok(())
///     });
///     Ok::<_, Infallible>(response.map(StreamBody::new))
/// });
/// http2::Builder::new(Streams(StreamDeadline::new()))
///     .timer(TokioTimer::new())
///     .serve_connection(TokioIo::new(IoDeadline::new(stream)), service)
///     .await
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct StreamDeadline {
    write: Duration,
}

impl StreamDeadline {
    /// A deadline of 30 s.
    #[must_use]
    pub fn new() -> Self {
        Self {
            write: Duration::from_secs(30),
        }
    }

    /// Sets how long a client may read nothing of a stream while the server has bytes for it. Default:
    /// 30 s. Then the stream ends. `Duration::MAX` disables the deadline.
    #[must_use]
    pub fn write_deadline(mut self, deadline: Duration) -> Self {
        self.write = deadline;
        self
    }

    /// Runs the future of one stream, as hyper gives it to an executor, until it ends or its client has
    /// not read for too long. The response's body must be a [`StreamBody`](crate::StreamBody).
    ///
    /// A panic of the future ends the stream, and is traced as an error.
    pub fn run<F: Future<Output = ()>>(&self, stream: F) -> StreamTask<F> {
        StreamTask {
            stream: Some(Box::pin(stream)),
            state: Arc::new(StreamState::new()),
            write: self.write,
            waits_since: None,
            timer: Timer::default(),
        }
    }
}

impl Default for StreamDeadline {
    fn default() -> Self {
        Self::new()
    }
}

/// The future of one stream under a [`StreamDeadline`].
///
/// # Cancel safety
/// If you drop it, the stream is reset, and its handler is dropped.
#[must_use = "a stream runs while it is polled"]
pub struct StreamTask<F> {
    /// `None` after it has ended.
    stream: Option<Pin<Box<F>>>,
    state: Arc<StreamState>,
    write: Duration,
    /// Since when bytes of this stream wait for the client. A later write restarts the time.
    waits_since: Option<Instant>,
    timer: Timer,
}

impl<F: Future<Output = ()>> StreamTask<F> {
    fn poll_stream(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(());
        };
        let _entered = Entered::new(&self.state);
        let poll = catch_unwind(AssertUnwindSafe(|| stream.as_mut().poll(cx)));
        poll.unwrap_or_else(|panic| {
            let panic = panic_message(&*panic);
            tracing::error!(panic, "a handler panicked, and its stream is reset");
            Poll::Ready(())
        })
    }

    /// Ready when the client has not read for too long.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.state.has_unwritten() {
            self.waits_since = None;
            return Poll::Pending;
        }
        let waits_since = *self.waits_since.get_or_insert_with(Instant::now);
        let since = waits_since.max(self.state.written_at());
        let due = since.checked_add(self.write);
        let end = self.state.ends_at();
        let end = end.and_then(|end| end.checked_add(self.write));
        match due.into_iter().chain(end).min() {
            Some(due) => self.timer.poll(cx, due),
            None => Poll::Pending,
        }
    }
}

impl<F: Future<Output = ()>> Future for StreamTask<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if !this.state.has_unwritten() {
            this.waits_since = None;
        }
        let mut poll = this.poll_stream(cx);
        if poll.is_pending() {
            poll = this.poll_deadline(cx);
            if poll.is_ready() {
                tracing::debug!(deadline = ?this.write, "a stream was reset: its client does not read it");
            }
        }
        if poll.is_ready() {
            this.drop_stream();
        }
        poll
    }
}

impl<F> StreamTask<F> {
    /// A panic in a drop must not reach the runtime untraced.
    fn drop_stream(&mut self) {
        let stream = self.stream.take();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(stream))) {
            let panic = panic_message(&*panic);
            tracing::error!(panic, "the drop of a stream panicked");
        }
    }
}

impl<F> fmt::Debug for StreamTask<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamTask")
            .field("write_deadline", &self.write)
            .finish_non_exhaustive()
    }
}

/// The state that the task of a stream shares with the body of its response, and with the bytes that the
/// body has returned.
#[derive(Debug)]
pub(crate) struct StreamState {
    /// The instant from which the other times count.
    start: Instant,
    /// How many bytes the body has returned that the connection has not written.
    unwritten: AtomicUsize,
    /// When the connection last wrote bytes of this stream, in nanoseconds.
    written_at: AtomicU64,
    /// When the lifetime of the session ends, in nanoseconds; `u64::MAX` without a lifetime.
    ends_at: AtomicU64,
    /// The waker of a body that ends after its last byte was written.
    body: AtomicWaker,
}

impl StreamState {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            unwritten: AtomicUsize::new(0),
            written_at: AtomicU64::new(0),
            ends_at: AtomicU64::new(u64::MAX),
            body: AtomicWaker::new(),
        }
    }

    /// The state of the stream whose task is polled now; `None` outside of a [`StreamTask`].
    pub(crate) fn current() -> Option<Arc<Self>> {
        CURRENT.with(|current| {
            let state = current.take();
            current.set(state.clone());
            state
        })
    }

    pub(crate) fn handle_lifetime(&self, ends_at: Instant) {
        self.ends_at
            .store(self.nanos_until(ends_at), Ordering::Relaxed);
    }

    /// The body has returned this many bytes.
    pub(crate) fn handle_returned(&self, bytes: usize) {
        self.unwritten.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The connection has written this many bytes.
    pub(crate) fn handle_written(&self, bytes: usize) {
        let now = self.nanos_until(Instant::now());
        self.written_at.store(now, Ordering::Relaxed);
        self.handle_dropped(bytes);
    }

    /// The connection has dropped this many bytes.
    pub(crate) fn handle_dropped(&self, bytes: usize) {
        if bytes > 0 && self.unwritten.fetch_sub(bytes, Ordering::AcqRel) == bytes {
            self.body.wake();
        }
    }

    pub(crate) fn has_unwritten(&self) -> bool {
        self.unwritten.load(Ordering::Acquire) > 0
    }

    /// Ready when everything that the body has returned was written.
    pub(crate) fn poll_written(&self, cx: &Context<'_>) -> Poll<()> {
        // Registered before the count is read, so that no change in between is missed.
        self.body.register(cx.waker());
        if self.has_unwritten() {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }

    fn written_at(&self) -> Instant {
        self.start + Duration::from_nanos(self.written_at.load(Ordering::Relaxed))
    }

    fn ends_at(&self) -> Option<Instant> {
        let ends_at = self.ends_at.load(Ordering::Relaxed);
        (ends_at < u64::MAX).then(|| self.start + Duration::from_nanos(ends_at))
    }

    fn nanos_until(&self, instant: Instant) -> u64 {
        let since_start = instant.saturating_duration_since(self.start);
        // A stream does not last for 500 years.
        u64::try_from(since_start.as_nanos()).unwrap_or(u64::MAX)
    }
}

thread_local! {
    static CURRENT: Cell<Option<Arc<StreamState>>> = const { Cell::new(None) };
}

/// Makes a state the current one until it is dropped.
struct Entered(Option<Arc<StreamState>>);

impl Entered {
    fn new(state: &Arc<StreamState>) -> Self {
        Self(CURRENT.replace(Some(Arc::clone(state))))
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}
