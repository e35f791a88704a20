//! `Upkeep`: the work besides the appends, which a damaged row must not turn into a failure of the appends.

use std::collections::VecDeque;
use std::time::Duration;

use tidings_hub::LogError;

use super::budget::Budget;
use super::commit::{Commit, Swept, Work, read};
use super::thread::Thread;
use super::{Settings, Writer, is_row_damaged};
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
    /// The deletion of expired keys.
    Keys,
}

impl Upkeep {
    pub(super) const ALL: [Self; 3] = [Self::Removal, Self::Tidy, Self::Keys];
}

impl Commit<'_> {
    /// Removes old entries, unless one of them is damaged.
    pub(super) fn try_removal(&mut self, first: u64, most: u64, budget: &Budget) -> Outcome<()> {
        if self.pauses.is_paused(Upkeep::Removal) {
            return Ok(());
        }
        // Nothing but this changes: the disk does not.
        let (head, removed) = (self.staged.head.clone(), self.staged.removed.len());
        let work = Work::Upkeep(Upkeep::Removal);
        match self.within(work, |commit| commit.remove_old(first, most, budget)) {
            Err(failure) if is_row_damaged(&failure) => {
                self.staged.head = head;
                self.staged.removed.truncate(removed);
                self.staged.work = Work::Frame;
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
        match self.within(Work::Upkeep(Upkeep::Tidy), |commit| commit.tidy(budget)) {
            Err(failure) if is_bearable && is_row_damaged(&failure) => {
                self.execute("ROLLBACK TO tidy")?;
                self.staged.head = head;
                self.staged.forgotten.clear();
                self.staged.swept = Swept::None;
                self.staged.work = Work::Frame;
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

impl Writer {
    fn note_success(&mut self, part: Upkeep, settings: &Settings) {
        self.pauses.note_success(part);
        let page = self.pauses.reached(part);
        // A step that ended before it came to the damage says nothing about it.
        if page.is_some_and(|reached| self.has_passed(part, reached, settings)) {
            self.pauses.forget_page(part);
        }
    }
}

impl Thread {
    /// The upkeep that has failed waits, and no trim waits for what waits.
    pub(super) fn note_upkeep(&mut self, failed: Vec<(Upkeep, Failure)>) {
        for part in Upkeep::ALL {
            if !failed.iter().any(|(other, _)| *other == part) {
                self.writer.note_success(part, &self.settings);
            }
        }
        let pauses = &mut self.writer.pauses;
        let mut error = None;
        for (part, failure) in failed {
            if pauses.add_for_row(part) {
                tracing::error!(
                    ?failure,
                    "the store is damaged; it accepts events, but removes none until it is repaired"
                );
            }
            error = Some(failure.at(&self.shared.path));
        }
        let has_stopped = pauses.is_paused(Upkeep::Removal)
            || (pauses.is_paused(Upkeep::Tidy) && !self.writer.may_remove(&self.settings));
        if has_stopped && !self.trims.is_empty() {
            let before = || StoreError::damaged(&self.shared.path, "it was found damaged before");
            let error = LogError::refused(error.unwrap_or_else(before));
            self.refuse_trims(&error);
        }
    }

    /// Ends the sweep in progress if that is quick, so that the next open has less to read.
    pub(super) fn finish_sweep(&mut self) {
        let end = clock::now().checked_add(CLOSING);
        while self.writer.sweep.is_some()
            && !self.is_broken
            && self.idle_until.is_none()
            && self.writer.pauses.until(Upkeep::Tidy).is_none()
            && end.is_some_and(|end| clock::now() < end)
        {
            self.turn(VecDeque::new());
        }
    }
}
