//! `Upkeep`: the work besides the appends, which a damaged row must not turn into a failure of the appends.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tidings_hub::LogError;

use super::budget::Budget;
use super::commit::{Commit, Swept, read};
use super::failing::RETRY;
use super::is_row_damaged;
use super::thread::Thread;
use super::turn::most_unswept;
use crate::StoreError;
use crate::clock;
use crate::failure::{Failure, Outcome};

/// While the index cannot be written, it may have so many times `index_batch` rows in memory.
const MOST_BATCHES: usize = 32;

/// How long the close of a store may continue a sweep.
const CLOSING: Duration = Duration::from_millis(200);

/// A part of the work that keeps a log within its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Upkeep {
    /// The removal of the oldest entries.
    Removal,
    /// Sweeps, and what follows from them.
    Tidy,
}

/// The longest pause after a page of the file could not be read.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// Until when the upkeep waits that has met damage.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    until: [Option<Instant>; 2],
    /// How long all of it has waited at last because a page could not be read.
    page: Duration,
}

impl Pauses {
    /// SQLite cannot read a page of the file. Then it commits nothing of the transaction, so the appends
    /// beside the upkeep fail. Each time, the upkeep waits twice as long.
    pub(super) fn add_for_page(&mut self) {
        self.page = (2 * self.page).clamp(RETRY, LONGEST_PAUSE);
        self.until = [clock::now().checked_add(self.page); 2];
    }

    pub(super) fn is_paused(&self, upkeep: Upkeep) -> bool {
        self.until[upkeep as usize].is_some_and(|until| clock::now() < until)
    }

    /// When the last of it is tried again.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until.into_iter().max().flatten()
    }
}

impl Commit<'_> {
    /// Removes old entries, unless one of them is damaged.
    pub(super) fn try_removal(&mut self, first: u64, most: u64, budget: &Budget) -> Outcome<()> {
        if self.pauses.is_paused(Upkeep::Removal) {
            return Ok(());
        }
        // Nothing but this changes: the disk does not.
        let (head, removed) = (self.staged.head.clone(), self.staged.removed.len());
        match self.remove_old(first, most, budget) {
            Err(failure) if is_row_damaged(&failure) => {
                self.staged.head = head;
                self.staged.removed.truncate(removed);
                self.staged.failed.push((Upkeep::Removal, failure));
                Ok(())
            }
            done => done,
        }
    }

    /// Tidies, unless something is damaged. Then the transaction keeps only what it did before.
    pub(super) fn try_tidy(&mut self, budget: &mut Budget) -> Outcome<()> {
        let most = MOST_BATCHES.saturating_mul(self.settings.index_batch);
        let is_bearable = read(self.index).current_len() < most;
        if is_bearable && self.pauses.is_paused(Upkeep::Tidy) {
            return Ok(());
        }
        let head = self.staged.head.clone();
        self.execute("SAVEPOINT tidy")?;
        match self.tidy(budget) {
            Err(failure) if is_bearable && is_row_damaged(&failure) => {
                self.execute("ROLLBACK TO tidy")?;
                self.staged.head = head;
                self.staged.forgotten.clear();
                self.staged.swept = Swept::None;
                self.staged.failed.push((Upkeep::Tidy, failure));
            }
            done => done?,
        }
        self.execute("RELEASE tidy")
    }

    fn execute(&self, sql: &str) -> Outcome<()> {
        self.connection.prepare_cached(sql)?.execute([])?;
        Ok(())
    }
}

impl Thread {
    /// The upkeep that has failed waits, and no trim waits for what waits.
    pub(super) fn note_upkeep(&mut self, failed: Vec<(Upkeep, Failure)>) {
        let pauses = &mut self.writer.pauses;
        for upkeep in [Upkeep::Removal, Upkeep::Tidy] {
            let has_failed = failed.iter().any(|(part, _)| *part == upkeep);
            if !has_failed && !pauses.is_paused(upkeep) {
                pauses.until[upkeep as usize] = None;
            }
        }
        let mut error = None;
        for (upkeep, failure) in failed {
            let pause = &mut pauses.until[upkeep as usize];
            // Otherwise this was traced already.
            if pause.is_none() {
                tracing::error!(
                    ?failure,
                    "the store is damaged; it accepts events, but removes none until it is repaired"
                );
            }
            *pause = clock::now().checked_add(RETRY);
            error = Some(failure.at(&self.shared.path));
        }
        if pauses.until().is_none() {
            pauses.page = Duration::ZERO;
        }
        let has_stopped = pauses.is_paused(Upkeep::Removal)
            || (pauses.is_paused(Upkeep::Tidy)
                && self.writer.sweep.is_some()
                && self.writer.head.unswept() >= most_unswept(&self.settings));
        if has_stopped && !self.trims.is_empty() {
            let before = || StoreError::damaged(&self.shared.path, "it was found damaged before");
            let error = LogError::refused(error.unwrap_or_else(before));
            for trim in self.trims.drain(..) {
                // Nobody may wait any more.
                drop(trim.reply.send(Err(error.clone())));
            }
        }
    }

    /// Ends the sweep in progress if that is quick, so that the next open has less to read.
    pub(super) fn finish_sweep(&mut self) {
        let end = clock::now().checked_add(CLOSING);
        while self.writer.sweep.is_some()
            && !self.is_broken
            && self.idle_until.is_none()
            && self.writer.pauses.until().is_none()
            && end.is_some_and(|end| clock::now() < end)
        {
            self.turn(VecDeque::new());
        }
    }
}
