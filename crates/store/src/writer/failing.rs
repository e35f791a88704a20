//! What the writer does after a failure.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::mem;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension};
use tidings_hub::{LogError, Place};

use super::commit::{Work, write};
use super::replies::Reply;
use super::thread::{MAX_WAIT, Thread};
use super::{Broken, Recovered, Writer, is_page_damaged, is_row_damaged};
use crate::clock;
use crate::entry_row::EntryRow;
use crate::failure::{Failure, Outcome};
use crate::queue::{Command, MAX_COMMANDS};
use crate::state_row::StoreState;
use crate::{Durability, StoreError, StoreErrorKind, connection, wal};

/// After a failure, work that no append waits for is tried again after this time.
pub(super) const RETRY: Duration = Duration::from_secs(1);

impl Thread {
    /// Replies that a transaction was not committed. `batch` has the commands that were not decided.
    pub(super) fn fail(&mut self, broken: Broken, replies: Vec<Reply>, batch: VecDeque<Command>) {
        let Broken {
            failure,
            is_unknown,
            work,
            reached,
        } = broken;
        let is_page_damaged = is_page_damaged(&failure);
        // Then the upkeep has not failed, and need not wait.
        let is_of_append = work == Work::Append && (is_page_damaged || is_row_damaged(&failure));
        if !is_of_append {
            self.idle_until = clock::now().checked_add(RETRY);
        }
        if failure.is_full() {
            tracing::warn!(
                "there is no room left for the store; it accepts no entries until there is"
            );
            self.checkpointer.wake();
        } else {
            tracing::warn!(?failure, is_unknown, "the store could not write");
        }
        if is_page_damaged {
            self.writer.pauses.add(work, reached);
        }
        let failure = self.note_loss(failure);
        let error = if is_unknown {
            self.is_broken = true;
            self.idle_until = self.reopen_at;
            failure.into()
        } else {
            LogError::refused(failure)
        };
        let last = self.writer.head.last();
        replies
            .into_iter()
            .for_each(|reply| reply.fail(last, &error));
        self.refuse(batch, &error);
        if is_of_append {
            self.continue_alone();
        } else {
            self.refuse_trims(&error);
        }
    }

    /// Does the upkeep that the failure of an append has undone. Otherwise a publisher that tries again and
    /// again would keep the log from its limits.
    fn continue_alone(&mut self) {
        if self.is_due() {
            self.turn(VecDeque::new());
        }
    }

    /// The error of a failed commit. Stops the store if what was acknowledged before may be missing too;
    /// otherwise each commit was synchronized by itself.
    pub(super) fn note_loss(&self, failure: Failure) -> StoreError {
        let has_lost = failure.is_of_sync() && self.durability() != Durability::EveryCommit;
        let error = failure.at(&self.shared.path);
        if has_lost {
            self.checkpointer.fail(error.clone());
        }
        error
    }

    /// Replies this error to the trims that are being done.
    pub(super) fn refuse_trims(&mut self, error: &LogError) {
        for trim in self.trims.drain(..) {
            // Nobody may wait any more.
            drop(trim.reply.send(Err(error.clone())));
        }
    }

    /// Replies this error to these commands.
    pub(super) fn refuse(&self, batch: VecDeque<Command>, error: &LogError) {
        for command in batch {
            match command {
                Command::Append { reply, .. } => drop(reply.send(Err(error.clone()))),
                Command::RenewEpoch { reply, .. } => drop(reply.send(Err(error.clone()))),
                Command::Trim { reply, .. } => drop(reply.send(Err(error.clone()))),
                Command::Close { .. } => unreachable!("it is taken out of the batch first"),
            }
        }
    }

    /// Opens the connection again if it has failed. Fails if nothing can be written.
    ///
    /// A disk that fails each commit would cause a recovery for each. So at most one is made in `RETRY`, and
    /// the commands of the meantime wait.
    pub(super) fn repair(&mut self) -> Result<(), StoreError> {
        if let Some(error) = self.checkpointer.failure() {
            self.idle_until = clock::now().checked_add(MAX_WAIT);
            return Err(error.clone());
        }
        if !self.is_broken {
            return Ok(());
        }
        // What was acknowledged is missing or damaged, so no question is answered any more.
        if self.shared.failure().is_some() {
            self.idle_until = clock::now().checked_add(MAX_WAIT);
            return Err(StoreError::damaged(
                &self.shared.path,
                "it was found damaged before",
            ));
        }
        if let Some(at) = self.reopen_at {
            let wait = at.saturating_duration_since(clock::now());
            self.shared.queue.gather(MAX_COMMANDS, wait);
        }
        self.reopen_at = clock::now().checked_add(RETRY);
        self.reopen()
            .inspect_err(|_| self.idle_until = self.reopen_at)
    }

    /// Opens the connection again, and publishes what is on the disk.
    pub(super) fn reopen(&mut self) -> Result<(), StoreError> {
        tracing::warn!(path = %self.shared.path.display(), "the store opens its file again");
        let recovered = self.recover().inspect_err(|error| {
            // Otherwise it may succeed later.
            if matches!(error.kind(), StoreErrorKind::Damaged { .. }) {
                self.shared.fail(error.clone().into());
            }
        })?;
        let Recovered {
            recent_index,
            published,
            mut writer,
        } = recovered;
        // Readers may have seen newer channels, and the time must not go back.
        let former = &mut self.writer;
        writer.head.next_channel = writer.head.next_channel.max(former.head.next_channel);
        mem::swap(&mut writer.clock, &mut former.clock);
        self.writer = writer;
        *write(&self.shared.recent_index) = recent_index;
        self.shared.publish(|former| {
            former.epoch = published.epoch;
            former.ends_since = published.ends_since;
            former.floor = published.floor;
            if former.last != published.last {
                former.last = published.last;
                former.recent = published.recent;
            }
        });
        self.is_broken = false;
        Ok(())
    }

    /// What is on the disk, which must have everything that was published.
    fn recover(&self) -> Result<Recovered, StoreError> {
        let path = &self.shared.path;
        let connection = connection::open_writer(path)?;
        let at_path = |failure: Failure| failure.at(path);
        let state = StoreState::read(&connection).map_err(at_path)?;
        let recovered = Writer::recover(connection, state).map_err(at_path)?;
        let (found, former) = (&recovered.writer.head, &self.writer.head);
        let has_all = match found.last().cmp(&former.last()) {
            Ordering::Less => false,
            Ordering::Equal => found.last == former.last,
            Ordering::Greater => {
                let connection = &recovered.writer.connection;
                has(connection, former.last.place).map_err(at_path)?
            }
        };
        if has_all && found.floor() >= former.floor() {
            // Otherwise the next commit for which an answer waits makes it durable, and reports what is lost.
            let must_sync = self.durability() == Durability::EveryCommit;
            wal::cut_rest(path, &recovered.writer.connection, must_sync)?;
            return Ok(recovered);
        }
        Err(StoreError::damaged(
            path,
            "it has lost entries while it was open",
        ))
    }
}

/// Whether this entry is in the log, or was removed.
fn has(connection: &Connection, place: Place) -> Outcome<bool> {
    let sql = format!("SELECT {} FROM entries WHERE seq = ?1", EntryRow::COLUMNS);
    let found = connection.query_row(&sql, [place.seq.cast_signed()], |row| {
        Ok(EntryRow::verified(row).map(|(row, _)| row.check))
    });
    let found = found.optional()?.transpose()?;
    Ok(found.is_none_or(|check| check == place.check))
}
