//! The outcome of a session: why it ended, how much it sent, and the parts that remain to be dropped.

use std::task::Waker;

use tidings_proto::SessionState;

use crate::Reason;
use crate::work::HandlerFuture;

/// The outcome of a session whose body is dropped.
pub(crate) struct Outcome {
    pub(crate) reason: Reason,
    pub(crate) sent: SentTotals,
    pub(crate) remains: Remains,
}

/// How much a session has sent.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct SentTotals {
    /// Events queued so far.
    pub(crate) events: u64,
    /// Bytes handed to the connection.
    pub(crate) bytes: u64,
    /// The most bytes queued at one time.
    pub(crate) queue_high_mark: usize,
}

/// The parts of a session that remain when its body is dropped. Dropping them may run the caller's
/// code.
pub(crate) struct Remains {
    pub(crate) _state: SessionState,
    pub(crate) _spawned: Vec<HandlerFuture>,
    pub(crate) _body: Option<Waker>,
}
