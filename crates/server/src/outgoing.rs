//! `Outgoing`: whether a connection still has bytes to write.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

/// Whether an HTTP/1.1 connection still has bytes to write. In the extensions of a request it makes
/// the session wait, before a cut, until everything it sent was written.
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
}

impl Outgoing {
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

    /// Ready when no write waits.
    pub(crate) fn poll_written(&self, cx: &Context<'_>) -> Poll<()> {
        // Registered before the flag is read, so that no change in between is missed.
        self.0.body.register(cx.waker());
        if self.0.is_stuck.load(Ordering::Acquire) {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }
}
