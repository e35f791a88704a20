//! `Work`: the futures that a session runs, its handler and those spawned beside it.

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::stream::{FuturesUnordered, StreamExt};

use crate::HandlerError;

pub(crate) type HandlerFuture = Pin<Box<dyn Future<Output = Result<(), HandlerError>> + Send>>;

/// The futures that a session runs.
pub(crate) struct Work {
    handler: HandlerFuture,
    /// Allocated with the first.
    spawned: Option<Box<FuturesUnordered<HandlerFuture>>>,
}

/// How a handler, a future spawned beside it, or a forwarded feed failed.
pub(crate) enum Failure {
    Error(HandlerError),
    Panic(Box<dyn Any + Send>),
}

impl Work {
    pub(crate) fn new(handler: HandlerFuture) -> Self {
        Self {
            handler,
            spawned: None,
        }
    }

    /// Runs these futures beside the handler.
    pub(crate) fn spawn(&mut self, new: Vec<HandlerFuture>) {
        if !new.is_empty() {
            self.spawned.get_or_insert_default().extend(new);
        }
    }

    /// Ready when the handler has returned, or when a future has failed. Must not be polled again
    /// after that, nor after a panic.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HandlerError>> {
        // First, so that a future spawned before the handler waited runs before it continues.
        let failed = self.poll_spawned(cx);
        if failed.is_ready() {
            return failed;
        }
        self.handler.as_mut().poll(cx)
    }

    /// Ready only with an error.
    fn poll_spawned(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HandlerError>> {
        let Some(spawned) = &mut self.spawned else {
            return Poll::Pending;
        };
        while let Poll::Ready(Some(ended)) = spawned.poll_next_unpin(cx) {
            if ended.is_err() {
                return Poll::Ready(ended);
            }
        }
        Poll::Pending
    }
}

impl Failure {
    /// Traces the failure with the path of its request, because a subscriber may record errors and no
    /// spans.
    pub(crate) fn trace(&self, path: &str) {
        match self {
            Self::Error(error) => {
                let error = error.as_error();
                tracing::error!(path, error, "the handler of a session failed");
            }
            Self::Panic(panic) => {
                let panic = panic_message(&**panic);
                tracing::error!(path, panic, "the handler of a session panicked");
            }
        }
    }
}

pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic whose message is not text")
}
