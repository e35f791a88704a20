//! `Source`: where the body of an open session takes its frames from, a handler or a feed.

use std::task::{Context, Poll, Waker};
use std::time::Instant;

use tidings_proto::SessionFrame;

use crate::HandlerError;
use crate::ending::Ending;
use crate::outcome::Outcome;

/// The source of an open body's frames: a handler or a feed. It has no clock, timer, span or metrics; the
/// body has them.
pub(crate) trait Source: Send {
    /// The parts of the source that remain when the body is dropped. Dropping them may run the caller's code.
    type Remains;

    /// The waker of its work and of its timer.
    fn waker(&self) -> Waker;

    /// When the session's lifetime ends.
    fn ends_at(&self) -> Option<Instant>;

    /// The path of the request.
    fn path(&self) -> &str;

    /// Gives the connection a turn to write. Returns whether the body has work to do after it.
    fn yield_turn(&mut self, body: &Waker) -> bool;

    /// Starts a turn of the work.
    fn start_turn(&mut self, body: &Waker) -> TurnStart;

    /// When [`handle_timeout`](Self::handle_timeout) must be called.
    fn poll_timeout(&self) -> Option<Instant>;

    /// Reports that time has passed: sends the heartbeat that is due, or ends the session.
    fn handle_timeout(&mut self, now: Instant);

    /// Ready when the work has ended or failed. Pending after that.
    fn poll_work(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HandlerError>>;

    /// Ends the session after the queued events. Returns whether it was open.
    fn end(&mut self, ending: Ending) -> bool;

    /// Drops the work, which has ended or failed.
    fn drop_work(&mut self);

    /// Ends the turn of the work.
    fn end_turn(&mut self, now: Instant) -> TurnEnd;

    /// The body is dropped.
    fn abandon(&mut self) -> (Outcome, Self::Remains);
}

/// The input of the body when a turn of the work starts.
pub(crate) struct TurnStart {
    /// The work or the timer was woken since the previous turn.
    pub(crate) is_woken: bool,
    /// When the timer must go off next.
    pub(crate) due: Option<Instant>,
}

/// The output of the body when a turn of the work ends.
pub(crate) struct TurnEnd {
    /// The frame that leaves now.
    pub(crate) frame: Option<SessionFrame>,
    /// With a frame: the number of events queued since the previous frame.
    pub(crate) events: u64,
    /// The work or the timer was woken during the turn, so the body must be polled again.
    pub(crate) is_woken: bool,
}
