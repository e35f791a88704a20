//! `Outgoing`: whether a connection still has bytes to write.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

/// Whether an HTTP/1.1 connection still has bytes to write. In the extensions of a request it makes
/// the session wait, before a cut, until everything it sent was written. The connection also learns from it
/// that a session is open.
///
/// Without it, a slow client may lose events when its handler fails: the bytes that do not fit the
/// kernel's buffers, up to about 400 kB, wait in hyper, which drops them with the connection.
///
/// `tidings_axum::serve` puts it there. For another server, get it from
/// [`IoDeadline::outgoing`](crate::IoDeadline::outgoing).
#[derive(Debug, Clone, Default)]
pub struct Outgoing(Arc<WriteState>);

#[derive(Debug, Default)]
struct WriteState {
    /// A write waits for the peer.
    is_stuck: AtomicBool,
    /// The waker of the task that polls the body.
    body: AtomicWaker,
    /// How many sessions the connection has.
    sessions: AtomicUsize,
    /// Nobody reads the request that is answered any more.
    is_request_over: AtomicBool,
    /// The server reads during the stream.
    is_reading: AtomicBool,
}

impl Outgoing {
    /// Reports whether the request that is answered now is over: its body has ended, or was dropped. Default:
    /// `false`. `tidings_axum::serve` reports it for each request.
    ///
    /// hyper stops reading when a client has sent more than its request, or when the body is dropped before
    /// its end. While a session is open, [`IoDeadline`](crate::IoDeadline) then reads in its place, and so
    /// notices a client that disconnects. It keeps the first 8 KiB for hyper. After that it stops, unless the
    /// request is over: then it drops the rest, and the connection closes after the stream.
    pub fn set_request_over(&self, is_over: bool) {
        self.0.is_request_over.store(is_over, Ordering::Relaxed);
    }

    /// Whether a session is open, which may not write for long.
    fn is_streaming(&self) -> bool {
        self.0.sessions.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn is_request_over(&self) -> bool {
        self.0.is_request_over.load(Ordering::Relaxed)
    }

    /// Reports whether the server reads from the connection during a stream.
    pub(crate) fn set_reading(&self, is_reading: bool) {
        self.0.is_reading.store(is_reading, Ordering::Relaxed);
    }

    /// Whether the server reads from the connection during a stream.
    pub(crate) fn is_reading(&self) -> bool {
        self.0.is_reading.load(Ordering::Relaxed)
    }

    /// Whether a session is open, and the server does not read.
    pub(crate) fn needs_reader(&self) -> bool {
        self.is_streaming() && !self.is_reading()
    }

    /// A write must wait.
    pub(crate) fn handle_stuck(&self) {
        self.0.is_stuck.store(true, Ordering::Release);
    }

    /// Everything was written.
    pub(crate) fn handle_flushed(&self) {
        if self.0.is_stuck.load(Ordering::Relaxed) {
            self.0.is_stuck.store(false, Ordering::Release);
            self.0.body.wake();
        }
    }

    fn poll_written(&self, cx: &Context<'_>) -> Poll<()> {
        // Registered before the flag is read, so that no change in between is missed.
        self.0.body.register(cx.waker());
        if self.0.is_stuck.load(Ordering::Acquire) {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }
}

/// The writes of a connection with an open session. It counts as a session until it is dropped.
#[derive(Debug)]
pub(crate) struct Streaming(Outgoing);

impl Streaming {
    pub(crate) fn new(outgoing: &Outgoing) -> Self {
        outgoing.0.sessions.fetch_add(1, Ordering::Relaxed);
        Self(outgoing.clone())
    }

    /// Ready when no write waits.
    pub(crate) fn poll_written(&self, cx: &Context<'_>) -> Poll<()> {
        self.0.poll_written(cx)
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        self.0.0.sessions.fetch_sub(1, Ordering::Relaxed);
    }
}
