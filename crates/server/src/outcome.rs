//! `Outcome`: why a session ended, and how much it sent.

use crate::Reason;

/// The outcome of a session whose body is dropped.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outcome {
    pub(crate) reason: Reason,
    pub(crate) sent: SentTotals,
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
