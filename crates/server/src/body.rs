//! Owns `SessionBody`: a response body that runs the handler as it is read.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::Body;
use tidings_proto::Frame;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::shared::Shared;
use crate::{BrokenSession, HandlerError};

pub(crate) type HandlerFuture = Pin<Box<dyn Future<Output = Result<(), HandlerError>> + Send>>;

/// The body of an event stream: owns the handler's future and polls it when it is polled.
///
/// There is no task and no channel. After each frame, and before the handler first runs, it
/// answers `Pending` once: a connection writes what it has only when the body has no more, so the
/// head and every frame leave before the handler goes on.
pub struct SessionBody {
    shared: Arc<Shared>,
    /// Of the handler and the timer: `shared`.
    waker: Waker,
    /// `None` once it has returned.
    handler: Option<HandlerFuture>,
    /// Of the heartbeat.
    timer: Option<Pin<Box<Sleep>>>,
    turn: Turn,
}

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// The connection's, to write the head; the handler has not run.
    Head,
    /// The connection's, to write a frame.
    Frame,
    /// The handler's, for the first time.
    First,
    /// The handler's.
    Handler,
    /// Nobody's: the body has ended.
    Over,
}

impl SessionBody {
    pub(crate) fn new(shared: Arc<Shared>, handler: HandlerFuture) -> Self {
        Self {
            waker: Waker::from(Arc::clone(&shared)),
            shared,
            handler: Some(handler),
            timer: None,
            turn: Turn::Head,
        }
    }

    fn poll_handler(&mut self) {
        let Some(handler) = &mut self.handler else {
            return;
        };
        let mut cx = Context::from_waker(&self.waker);
        // The handler is never polled again after a panic.
        match catch_unwind(AssertUnwindSafe(|| handler.as_mut().poll(&mut cx))) {
            Ok(Poll::Pending) => return,
            Ok(Poll::Ready(Ok(()))) => self.shared.end(),
            Ok(Poll::Ready(Err(error))) => {
                // After a close it has nothing more to say, as when a `?` returns that a send came
                // too late.
                if self.shared.fail() {
                    tracing::error!(error = error.as_error(), "the handler of a session failed");
                }
            }
            Err(panic) => {
                tracing::error!(
                    panic = panic_message(&*panic),
                    "the handler of a session panicked"
                );
                self.shared.fail();
            }
        }
        self.handler = None;
    }

    fn poll_heartbeat(&mut self) {
        let mut cx = Context::from_waker(&self.waker);
        while let Some(due) = self.shared.poll_timeout().map(Instant::from_std) {
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
            if timer.deadline() != due {
                timer.as_mut().reset(due);
            }
            if timer.as_mut().poll(&mut cx).is_pending() {
                return;
            }
            self.shared.handle_timeout(Instant::now().into_std());
        }
    }

    /// Drops what a session that is over has no use for.
    fn end(&mut self) {
        self.turn = Turn::Over;
        self.handler = None;
        self.timer = None;
    }
}

impl Body for SessionBody {
    type Data = Bytes;
    type Error = BrokenSession;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, BrokenSession>>> {
        let this = self.get_mut();
        match this.turn {
            Turn::Over => return Poll::Ready(None),
            Turn::Head | Turn::Frame => {
                if this.shared.yield_turn(cx.waker()) || this.turn == Turn::Head {
                    cx.waker().wake_by_ref();
                }
                this.turn = if this.turn == Turn::Head {
                    Turn::First
                } else {
                    Turn::Handler
                };
                return Poll::Pending;
            }
            Turn::First | Turn::Handler => {}
        }
        if this.shared.start_turn(cx.waker()) || this.turn == Turn::First {
            this.poll_handler();
            this.poll_heartbeat();
        }
        this.turn = Turn::Handler;
        let turn = this.shared.end_turn(Instant::now().into_std());
        match turn.frame {
            None => {
                if turn.is_woken {
                    cx.waker().wake_by_ref();
                }
                Poll::Pending
            }
            Some(Frame::Data(bytes)) => {
                this.turn = Turn::Frame;
                Poll::Ready(Some(Ok(http_body::Frame::data(bytes))))
            }
            Some(Frame::Break) => {
                this.end();
                Poll::Ready(Some(Err(BrokenSession::new())))
            }
            Some(_) => {
                this.end();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.turn == Turn::Over
    }
}

impl Drop for SessionBody {
    fn drop(&mut self) {
        // Whoever still holds a handle sends into nothing from here on.
        self.shared.abandon();
    }
}

impl fmt::Debug for SessionBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionBody")
            .field("turn", &self.turn)
            .finish_non_exhaustive()
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("of a value that is no text")
}
