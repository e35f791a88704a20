//! `Budget`: how much work besides its appends a transaction may do.

use std::time::{Duration, Instant};

use crate::clock;

/// The limits of the work that is done step by step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Steps {
    /// The most rows of one step, unless many appends need more.
    pub(super) rows: u64,
    /// The most time of one step.
    pub(super) time: Duration,
    /// A sweep of at most so many rows is done at once.
    pub(super) at_once: u64,
}

/// The most bytes of removed entries that one step deletes, except of a larger single entry.
const BYTES: u64 = 4 << 20;

impl Default for Steps {
    fn default() -> Self {
        Self {
            rows: 1_024,
            time: Duration::from_millis(2),
            at_once: 256,
        }
    }
}

/// What is left of a step.
#[derive(Debug)]
pub(super) struct Budget {
    rows: u64,
    bytes: u64,
    end: Option<Instant>,
}

impl Budget {
    pub(super) fn new(rows: u64, time: Duration) -> Self {
        Self {
            rows,
            bytes: BYTES,
            end: clock::now().checked_add(time),
        }
    }

    pub(super) fn unlimited() -> Self {
        Self {
            rows: u64::MAX,
            bytes: u64::MAX,
            end: None,
        }
    }

    /// So many rows, however long they take.
    pub(super) fn untimed(rows: u64) -> Self {
        Self {
            rows,
            ..Self::unlimited()
        }
    }

    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    pub(super) fn spend(&mut self, rows: u64) {
        self.rows = self.rows.saturating_sub(rows);
    }

    pub(super) fn spend_bytes(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    pub(super) fn is_spent(&self) -> bool {
        self.rows == 0 || self.bytes == 0 || self.end.is_some_and(|end| clock::now() >= end)
    }
}
