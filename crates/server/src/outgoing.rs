//! Owns `Outgoing`: whether a connection has still to write what it was given.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

/// Whether a connection of HTTP/1.1 has still to write what it was given: in the extensions of a
/// request it lets the session wait, before its response is cut, until what was sent has left.
///
/// Else a handler that fails takes with it what its client, being behind by more than the kernel
/// holds, has not been written yet: some 400 kB in hyper, which drops it with the connection.
///
/// `tidings_axum::serve` puts it there. For another server it comes from
/// [`IoDeadline::outgoing`](crate::IoDeadline::outgoing).
#[derive(Debug, Clone, Default)]
pub struct Outgoing(Arc<State>);

#[derive(Debug, Default)]
struct State {
    is_stuck: AtomicBool,
    body: AtomicWaker,
}

impl Outgoing {
    /// A write has to wait.
    pub(crate) fn handle_stuck(&self) {
        self.0.is_stuck.store(true, Ordering::Release);
    }

    /// All has been written.
    pub(crate) fn handle_flushed(&self) {
        if self.0.is_stuck.load(Ordering::Relaxed) {
            self.0.is_stuck.store(false, Ordering::Release);
            self.0.body.wake();
        }
    }

    pub(crate) fn poll_written(&self, cx: &Context<'_>) -> Poll<()> {
        // Before the look, so that nothing is missed in between.
        self.0.body.register(cx.waker());
        if self.0.is_stuck.load(Ordering::Acquire) {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }
}
