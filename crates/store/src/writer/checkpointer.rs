//! `Checkpointer`: the thread that moves the write-ahead log of SQLite into the database file.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rusqlite::Connection;

use crate::failure::Outcome;
use crate::shared::Shared;
use crate::{Durability, StoreError, StoreErrorKind, connection};

/// The write-ahead log may have so many times the pages that are worth a checkpoint. Then the writer finishes
/// the checkpoint, so that the file is used again from its start.
const MAX_FACTOR: i64 = 3;

/// At twice as many pages, the writer waits for the readers and for the thread, and moves everything itself.
const LIMIT_FACTOR: i64 = 2 * MAX_FACTOR;

/// The writer waits for the disk while it finishes a checkpoint. So it does that only if few pages are left,
/// or those of its last two commits. The longer the write-ahead log is, the more pages are few.
const FEW_PAGES: i64 = 64;
const LAST_PAGES: i64 = 1_000;

/// How long the writer waits for readers at the limit, and at the end. At the limit it waits again after at
/// least `LAST_PAGES` more pages.
const MAX_HOLD_UP: Duration = Duration::from_millis(200);

/// How much of the write-ahead log was moved.
#[derive(Debug, Clone, Copy)]
struct Progress {
    /// Something has kept the checkpoint from doing all of its work.
    is_blocked: bool,
    pages: i64,
    moved: i64,
}

#[derive(Debug)]
pub(super) struct Checkpointer {
    /// So many pages of the write-ahead log are worth a checkpoint.
    pages: i64,
    /// At so many pages the writer waits.
    limit: i64,
    /// How many pages there were after the last commit.
    before: i64,
    link: Arc<Link>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread and the writer share.
#[derive(Debug)]
struct Link {
    order: Mutex<Order>,
    given: Condvar,
    /// Held during a checkpoint that moves pages, unless it may fail because there is another one.
    pass: Mutex<()>,
    failure: OnceLock<StoreError>,
    shared: Arc<Shared>,
    /// Closing any descriptor of the database file drops all locks of the process on it, so this one stays
    /// open until all connections are closed.
    file: Arc<File>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Wait,
    Work,
    Stop,
}

impl Checkpointer {
    pub(super) fn start(shared: &Arc<Shared>) -> Result<Self, StoreError> {
        let path = &shared.path;
        let io = |error| StoreError::because(StoreErrorKind::Io, path, error);
        let connection = connection::open_writer(path)?;
        // Opened after the connection, and closed after it. Some systems synchronize only what may be
        // written.
        let file = File::options().read(true).write(true).open(path);
        let link = Arc::new(Link {
            order: Mutex::new(Order::Wait),
            given: Condvar::new(),
            pass: Mutex::default(),
            failure: OnceLock::new(),
            shared: Arc::clone(shared),
            file: Arc::new(file.map_err(io)?),
        });
        let of_thread = Arc::clone(&link);
        let thread = thread::Builder::new()
            .name("tidings-checkpoint".to_owned())
            .spawn(move || of_thread.run(&connection))
            .map_err(io)?;
        let pages = shared.options.checkpoint_pages.into();
        Ok(Self {
            pages,
            limit: LIMIT_FACTOR * pages,
            before: 0,
            link,
            thread: Some(thread),
        })
    }

    /// Why nothing may be written any more.
    pub(super) fn failure(&self) -> Option<&StoreError> {
        self.link.failure.get()
    }

    /// The disk did not store what was written. From now on the write-ahead log is kept as it is, because it
    /// may be the only place of some pages: a disk reports such a failure once, and then forgets the pages.
    pub(super) fn fail(&self, cause: StoreError) {
        self.link.fail(cause);
    }

    /// Orders a checkpoint if one is worth it. The writer calls this after each commit, and finishes one that
    /// the thread cannot finish while the writer goes on.
    pub(super) fn after_commit(&mut self, writer: &Connection) -> Outcome<()> {
        let Progress { pages, moved, .. } = checkpoint(writer, "NOOP")?;
        let left = pages - moved;
        let committed = match pages - self.before {
            added @ 0.. => added,
            _ => pages,
        };
        self.before = pages;
        if pages < LIMIT_FACTOR * self.pages {
            self.limit = LIMIT_FACTOR * self.pages;
        }
        let is_too_long = pages >= MAX_FACTOR * self.pages;
        let excess = pages - MAX_FACTOR * self.pages;
        let few = (FEW_PAGES + excess / 8).min(LAST_PAGES);
        if pages >= self.limit {
            self.move_all(writer, pages)?;
        } else if is_too_long && left <= few.max(2 * committed) {
            // The thread may be waiting for the disk, and this would wait for the same.
            if let Some(pass) = self.link.try_pass() {
                self.link.note(checkpoint(writer, "PASSIVE"));
                drop(pass);
            }
        } else if left >= self.pages || is_too_long {
            self.order(Order::Work);
        }
        Ok(())
    }

    /// Moves everything, and waits until no reader needs the write-ahead log, so that the next commit uses it
    /// again from its start.
    fn move_all(&mut self, writer: &Connection, pages: i64) -> Outcome<()> {
        let pass = self.link.pass();
        writer.busy_timeout(MAX_HOLD_UP)?;
        let moved = checkpoint(writer, "RESTART");
        writer.busy_timeout(connection::MAX_WAIT)?;
        drop(pass);
        let moved = self.link.note(moved);
        let is_done = moved.is_some_and(|progress| !progress.is_blocked);
        if is_done {
            return Ok(());
        }
        // It waits, or fails, again after so many more pages.
        self.limit = pages + self.pages.max(LAST_PAGES);
        if moved.is_some() {
            tracing::warn!(
                pages,
                "the write-ahead log of a store grows beyond its limit, because a backup or another program reads \
                 the store for long"
            );
        }
        Ok(())
    }

    /// Orders a checkpoint, to free room on the disk.
    pub(super) fn wake(&self) {
        self.order(Order::Work);
    }

    /// Ends the thread and closes its connection. Moves the rest through the writer's connection, unless
    /// another program reads the store for long: then the next open does it. Returns a file that must stay
    /// open until all connections are closed.
    pub(super) fn stop(mut self, writer: &Connection) -> Arc<File> {
        self.end();
        let truncate = || {
            writer.busy_timeout(MAX_HOLD_UP)?;
            checkpoint(writer, "TRUNCATE")
        };
        let is_moved = self.failure().is_none() && self.link.note(truncate()).is_some();
        if !is_moved {
            // Otherwise SQLite tries it again, and a disk does not report a failure twice.
            connection::keep_wal(writer);
        }
        Arc::clone(&self.link.file)
    }

    fn end(&mut self) {
        self.order(Order::Stop);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::warn!("the thread for checkpoints of a store has panicked");
        }
    }

    fn order(&self, order: Order) {
        *self.link.lock() = order;
        self.link.given.notify_one();
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.end();
        }
    }
}

impl Link {
    fn lock(&self) -> MutexGuard<'_, Order> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pass(&self) -> MutexGuard<'_, ()> {
        self.pass.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_pass(&self) -> Option<MutexGuard<'_, ()>> {
        match self.pass.try_lock() {
            Ok(pass) => Some(pass),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn next(&self) -> Order {
        let waited = self
            .given
            .wait_while(self.lock(), |order| *order == Order::Wait);
        let mut order = waited.unwrap_or_else(PoisonError::into_inner);
        let next = *order;
        if next == Order::Work {
            *order = Order::Wait;
        }
        next
    }

    fn run(&self, connection: &Connection) {
        let mut before = 0;
        while self.next() == Order::Work {
            let pass = self.pass();
            if self.failure.get().is_none()
                && let Some(progress) = self.note(checkpoint(connection, "PASSIVE"))
            {
                self.sync(progress, before);
                before = progress.moved;
            }
            drop(pass);
        }
        if self.failure.get().is_some() {
            connection::keep_wal(connection);
        }
    }

    /// A checkpoint that stops short does not synchronize what it has moved. Then a commit would have to.
    fn sync(&self, Progress { pages, moved, .. }: Progress, before: i64) {
        if moved < pages
            && moved != before
            && let Err(error) = self.file.sync_data()
        {
            self.fail(StoreError::io(&self.shared.path, error));
        }
    }

    /// The progress of a checkpoint that did not fail.
    fn note(&self, checkpoint: Outcome<Progress>) -> Option<Progress> {
        let failure = match checkpoint {
            Ok(progress) => return Some(progress),
            Err(failure) => failure,
        };
        if failure.is_of_sync() && !self.is_of_failed_commit() {
            self.fail(failure.at(&self.shared.path));
        } else {
            // The next one moves the same pages again.
            tracing::warn!(?failure, "a checkpoint of a store failed");
        }
        None
    }

    /// Whether the synchronization that has just failed was that of the write-ahead log, and nothing in it is
    /// lost: each commit has synchronized its own part, or was not acknowledged.
    ///
    /// Linux reports such a failure to each descriptor of the file that is open, when that is synchronized
    /// next. So the failure of a commit reaches this thread too, perhaps much later, and one of the database
    /// file reaches `file`.
    fn is_of_failed_commit(&self) -> bool {
        cfg!(target_os = "linux")
            && self.shared.options.durability == Durability::EveryCommit
            && self.file.sync_data().is_ok()
    }

    fn fail(&self, cause: StoreError) {
        let path = &self.shared.path;
        tracing::error!(path = %path.display(), ?cause, "the disk of a store has lost what was written");
        let error = StoreError::because(StoreErrorKind::Io, path, Unsynchronized(cause));
        let error = self.failure.get_or_init(|| error);
        self.shared.fail(error.clone().into());
    }
}

/// Why a store has stopped.
#[derive(Debug)]
struct Unsynchronized(StoreError);

impl fmt::Display for Unsynchronized {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the disk did not store what was written; check the disk, then close the store and open it again, which \
             writes the same again",
        )
    }
}

impl Error for Unsynchronized {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

fn checkpoint(connection: &Connection, mode: &str) -> Outcome<Progress> {
    let mut pragma = connection.prepare_cached(&format!("PRAGMA wal_checkpoint({mode})"))?;
    Ok(pragma.query_row([], |row| {
        Ok(Progress {
            is_blocked: row.get(0)?,
            pages: row.get(1)?,
            moved: row.get(2)?,
        })
    })?)
}

#[cfg(test)]
mod tests {
    use super::super::tests::event;
    use super::super::thread_tests::{Turns, options};
    use super::*;

    #[test]
    fn a_checkpoint_that_fails_is_not_tried_again_at_each_commit() {
        let mut turns = Turns::new(options());
        turns.append(event("a")).unwrap();
        // A connection that reads cannot move the log: an error, as those of a disk are.
        let reading = connection::open_writer(&turns.shared.path).unwrap();
        let count = "BEGIN; SELECT count(*) FROM entries";
        reading.execute_batch(count).unwrap();
        assert!(checkpoint(&reading, "RESTART").is_err());
        let checkpointer = &mut turns.thread.checkpointer;
        let pages = checkpointer.limit;
        checkpointer.move_all(&reading, pages).unwrap();
        assert!(checkpointer.limit >= pages + LAST_PAGES);
    }
}
