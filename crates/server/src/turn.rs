//! `TurnStart` and `TurnEnd`: the data that a session's body and its shared state exchange in one turn.

use std::time::Instant;

use tidings_proto::SessionFrame;

use crate::work::HandlerFuture;

/// The input of the body when a turn of the handler starts.
pub(crate) struct TurnStart {
    /// The handler or the timer was woken since the previous turn.
    pub(crate) is_woken: bool,
    /// When the timer must go off next.
    pub(crate) due: Option<Instant>,
    /// The futures that run beside the handler from now on.
    pub(crate) spawned: Vec<HandlerFuture>,
}

/// The output of the body when a turn of the handler ends.
pub(crate) struct TurnEnd {
    /// The frame that leaves now.
    pub(crate) frame: Option<SessionFrame>,
    /// With a frame: the number of events queued since the previous frame.
    pub(crate) events: u64,
    /// The handler or the timer was woken during the turn, so the body must be polled again.
    pub(crate) is_woken: bool,
}
