//! The writer: the thread that appends entries, removes old ones, and keeps the index.

mod budget;
mod channels;
mod checkpointer;
mod closing;
mod commit;
mod failing;
mod head;
mod pauses;
mod recovery;
mod replies;
mod retention;
mod sweep;
mod thread;
mod turn;
mod upkeep;

use std::collections::BTreeSet;
use std::fmt;
use std::mem;
use std::sync::{Arc, RwLock};

use rusqlite::Connection;
use tidings_hub::{Entry, Retention};

use self::budget::Steps;
use self::channels::Channels;
use self::commit::{Commit, Staged, Swept, Work, read, write};
use self::head::Head;
use self::pauses::{Pauses, Reached};
use self::retention::{Oldest, is_too_large};
use self::sweep::{Cursor, Sweep, threshold};
use self::thread::Thread;
pub(crate) use self::thread::WriterThread;
use self::turn::most_unswept;
use self::upkeep::Upkeep;
use crate::channel_row::ChannelId;
use crate::clock::Clock;
use crate::connection::{self, Synchronous};
use crate::failure::{Failure, Outcome};
use crate::keys::Keys;
use crate::lock::StoreLock;
use crate::recent_index::RecentIndex;
use crate::shared::{Published, Shared};
use crate::state_row::StoreState;
use crate::{StoreError, StoreOptions};

/// What the writer knows when the store is opened.
pub(crate) struct Recovered {
    pub(crate) recent_index: RecentIndex,
    pub(crate) published: Published,
    pub(crate) writer: Writer,
}

/// The connection that writes, and what must be known of the log to append to it.
pub(crate) struct Writer {
    connection: Connection,
    head: Head,
    channels: Channels,
    keys: Keys,
    oldest: Oldest,
    /// The channels with removed entries that no sweep has seen.
    removed: BTreeSet<ChannelId>,
    sweep: Option<Sweep>,
    /// A sweep may have been broken off before the store was opened.
    must_sweep: bool,
    pauses: Pauses,
    clock: Clock,
    /// How the connection synchronizes; `None` if it was not set yet.
    sync: Option<Sync>,
}

/// How the writer works.
#[derive(Debug, Clone, Copy)]
struct Settings {
    retention: Retention,
    index_batch: usize,
    steps: Steps,
}

/// When the entries of a commit are on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sync {
    /// At once.
    Full,
    /// When the operating system writes them.
    Later,
}

/// Why a transaction was not committed.
struct Broken {
    failure: Failure,
    /// Whether the transaction may be on the disk all the same.
    is_unknown: bool,
    /// The part of the transaction that failed.
    work: Work,
    /// How far the log would have been: the newest removed entry, and the newest one.
    reached: Reached,
}

impl Settings {
    fn new(options: &StoreOptions) -> Self {
        Self {
            retention: options.retention,
            index_batch: options.index_batch,
            steps: Steps::default(),
        }
    }
}

impl Writer {
    /// Reads what a writer must know from the disk: the newest entry, the index of the entries after
    /// `state.indexed`, the removals after `state.swept`, and the keys.
    pub(crate) fn recover(connection: Connection, state: StoreState) -> Outcome<Recovered> {
        recovery::recover(connection, state)
    }

    /// Starts the threads of the writer. They keep the lock until they end.
    pub(crate) fn start(
        self,
        shared: Arc<Shared>,
        lock: StoreLock,
    ) -> Result<WriterThread, StoreError> {
        Thread::start(self, shared, lock)
    }

    /// Writes one transaction. Changes nothing but the disk; [`apply`](Self::apply) does the rest.
    fn commit<T>(
        &mut self,
        index: &RwLock<RecentIndex>,
        settings: &Settings,
        sync: Sync,
        now: u64,
        work: impl FnOnce(&mut Commit<'_>) -> Outcome<T>,
    ) -> Result<(T, Staged), Broken> {
        let reached = Reached::of(&self.head);
        self.begin(sync)
            .map_err(|failure| Broken::before(failure, Work::Frame, reached))?;
        let mut commit = Commit {
            connection: &self.connection,
            index,
            settings,
            channels: &mut self.channels,
            keys: &self.keys,
            oldest: &mut self.oldest,
            removed: &self.removed,
            sweep: self.sweep.as_ref(),
            pauses: &self.pauses,
            now,
            staged: Staged::new(self.head.clone()),
        };
        let done = work(&mut commit);
        let mut staged = commit.staged;
        let written = done.and_then(|done| {
            if staged.head.state != self.head.state {
                staged.head.state.last = staged.head.last();
                staged.head.state.write(&self.connection)?;
            }
            Ok(done)
        });
        let reached = Reached::of(&staged.head);
        let committed = match written {
            Ok(done) => self
                .execute("COMMIT")
                .map(|()| done)
                .map_err(|failure| Broken::at_commit(failure, reached)),
            Err(failure) => Err(Broken::before(failure, staged.work, reached)),
        };
        match committed {
            Ok(done) => Ok((done, staged)),
            Err(broken) => Err(self.roll_back(broken)),
        }
    }

    fn roll_back(&mut self, mut broken: Broken) -> Broken {
        // It may hold entries that do not exist now.
        self.oldest.clear();
        if !self.connection.is_autocommit()
            && let Err(failure) = self.execute("ROLLBACK")
        {
            tracing::warn!(?failure, "the store could not roll back a transaction");
            broken.is_unknown = true;
        }
        broken
    }

    fn execute(&self, sql: &str) -> Outcome<()> {
        self.connection.prepare_cached(sql)?.execute([])?;
        Ok(())
    }

    fn begin(&mut self, sync: Sync) -> Outcome<()> {
        if self.sync != Some(sync) {
            let synchronous = match sync {
                Sync::Full => Synchronous::Full,
                Sync::Later => Synchronous::Normal,
            };
            connection::set_synchronous(&self.connection, synchronous)?;
            self.sync = Some(sync);
        }
        self.execute("BEGIN IMMEDIATE")
    }

    /// Writes durably whether the store may lose entries in a crash of the system, if that has changed.
    fn mark(
        &mut self,
        index: &RwLock<RecentIndex>,
        settings: &Settings,
        is_unsynced: bool,
    ) -> Outcome<()> {
        let now = self.clock.now();
        let committed = self.commit(index, settings, Sync::Full, now, |commit| {
            commit.staged.head.state.is_unsynced = is_unsynced;
            Ok(())
        });
        let ((), staged) = committed.map_err(|broken| broken.failure)?;
        self.apply(index, staged);
        Ok(())
    }

    /// Takes over what was committed. Returns the new entries.
    fn apply(&mut self, index: &RwLock<RecentIndex>, staged: Staged) -> Vec<Entry> {
        let mut index = write(index);
        staged.rows.iter().for_each(|row| index.push(*row));
        match staged.swept {
            Swept::None => {}
            Swept::Finished => index.drop_moved(),
            Swept::AtOnce => {
                index.seal();
                index.drop_moved();
            }
        }
        drop(index);
        self.removed.extend(staged.removed);
        match staged.swept {
            Swept::None => {}
            Swept::Finished => self.sweep = None,
            Swept::AtOnce => {
                self.removed.clear();
                self.must_sweep = false;
            }
        }
        for (name, state) in staged.channels {
            self.channels.set(name, state);
        }
        staged
            .forgotten
            .iter()
            .for_each(|name| self.channels.forget(name));
        if let Some((_, seq)) = staged.expired {
            self.keys.forget_through(seq);
        }
        if staged.has_deleted_keys {
            self.keys.note_deleted();
        }
        staged.keys.into_iter().for_each(|row| self.keys.add(row));
        self.head = staged.head;
        staged.entries
    }

    /// Begins a sweep if one is due.
    fn begin_sweep(&mut self, index: &RwLock<RecentIndex>, settings: &Settings) {
        if self.sweep.is_some() {
            return;
        }
        let threshold = threshold(&self.head, settings.index_batch);
        let rows = read(index).current_len() as u64;
        if rows.max(self.head.unswept()) < threshold && !self.must_sweep {
            return;
        }
        self.must_sweep = false;
        self.head.cursor = Cursor::default();
        self.sweep = Some(Sweep {
            rows: write(index).seal(),
            removed: mem::take(&mut self.removed),
            floor: self.head.floor(),
        });
    }

    /// Whether there is work of this part that no append must wait for.
    fn has_work(&self, part: Upkeep, settings: &Settings) -> bool {
        match part {
            Upkeep::Removal => {
                self.may_remove(settings)
                    && self.head.held() > 1
                    && is_too_large(settings.retention, &self.head)
            }
            Upkeep::Tidy => self.sweep.is_some() || self.has_waste(settings),
            Upkeep::Keys => self.keys.left().is_some(),
        }
    }

    /// Whether removals need not wait for the sweep in progress.
    fn may_remove(&self, settings: &Settings) -> bool {
        self.sweep.is_none() || self.head.unswept() < most_unswept(settings)
    }

    /// Whether something is left that sweeps have found: rows of removed entries, or too many channels.
    fn has_waste(&self, settings: &Settings) -> bool {
        let limit = settings.retention.remembered_channels;
        self.head.has_waste() || self.head.gone.iter().any(|&count| count > limit)
    }

    /// Whether this part of the upkeep has done what it would have done when it got so far.
    fn has_passed(&self, part: Upkeep, reached: Reached, settings: &Settings) -> bool {
        match part {
            Upkeep::Removal => self.head.floor() > reached.floor,
            Upkeep::Tidy => {
                let state = &self.head.state;
                state.swept >= reached.floor
                    && state.indexed >= reached.last
                    && !self.has_waste(settings)
            }
            Upkeep::Keys => self.keys.left().is_none(),
        }
    }
}

impl Broken {
    fn before(failure: Failure, work: Work, reached: Reached) -> Self {
        Self {
            failure,
            is_unknown: false,
            work,
            reached,
        }
    }

    fn at_commit(failure: Failure, reached: Reached) -> Self {
        let is_unknown = !is_full(&failure) && !is_page_damaged(&failure);
        Self {
            failure,
            is_unknown,
            work: Work::Frame,
            reached,
        }
    }
}

/// Whether the disk is full. SQLite then has written nothing that counts.
fn is_full(failure: &Failure) -> bool {
    match failure {
        Failure::Sqlite(error) => error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull),
        Failure::Damaged(_) | Failure::Log(_) => false,
    }
}

/// Whether a row is not what was written. The transaction can go on without it.
fn is_row_damaged(failure: &Failure) -> bool {
    match failure {
        Failure::Damaged(_) => true,
        // Without a code, a value is missing or has another type.
        Failure::Sqlite(error) => error.sqlite_error_code().is_none(),
        Failure::Log(_) => false,
    }
}

/// Whether SQLite cannot read a page. It then commits nothing of the transaction.
fn is_page_damaged(failure: &Failure) -> bool {
    use rusqlite::ErrorCode as Code;
    match failure {
        Failure::Sqlite(error) => matches!(
            error.sqlite_error_code(),
            Some(Code::DatabaseCorrupt | Code::NotADatabase)
        ),
        Failure::Damaged(_) | Failure::Log(_) => false,
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("head", &self.head)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod failing_tests;
#[cfg(test)]
mod hold_up_tests;
#[cfg(test)]
mod pauses_tests;
#[cfg(test)]
mod sweep_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use self::tests::Directory;

#[cfg(test)]
mod thread_tests;
#[cfg(test)]
mod upkeep_tests;
