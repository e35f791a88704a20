//! Owns what a session's body is told: where its turn begins, what it does after it, and at the end what
//! became of the session.

use std::task::Waker;
use std::time::Instant;

use tidings_proto::{SessionFrame, SessionState};

use crate::Reason;
use crate::work::HandlerFuture;

/// What the body finds when it has its turn.
pub(crate) struct Start {
    /// The handler or the timer was woken since the last turn.
    pub(crate) is_woken: bool,
    /// When the timer is to go off.
    pub(crate) due: Option<Instant>,
    /// What is to run beside the handler from now on.
    pub(crate) spawned: Vec<HandlerFuture>,
}

/// What the body does after it has had its turn.
pub(crate) struct Turn {
    /// What leaves now.
    pub(crate) frame: Option<SessionFrame>,
    /// With a frame: how many events were queued since the one before.
    pub(crate) events: u64,
    /// Somebody was woken meanwhile: the body is to be polled again.
    pub(crate) is_woken: bool,
}

/// What a session has sent.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Sent {
    /// Queued so far.
    pub(crate) events: u64,
    /// Handed to the connection.
    pub(crate) bytes: u64,
    /// The most bytes that were queued at a time.
    pub(crate) queue_high_mark: usize,
}

/// What became of a session.
pub(crate) struct Abandoned {
    pub(crate) reason: Reason,
    pub(crate) sent: Sent,
    pub(crate) left: Left,
}

/// What is left of a session when its body is gone: to be dropped, which may run the caller's code.
pub(crate) struct Left {
    pub(crate) _state: SessionState,
    pub(crate) _spawned: Vec<HandlerFuture>,
    pub(crate) _body: Option<Waker>,
}
