//! `Readers`: the threads that answer questions, and the snapshot that a question is answered from.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLockReadGuard};
use std::thread::{self, JoinHandle, Thread};

use rusqlite::Connection;
use tidings_hub::{LogError, Place};
use tokio::sync::oneshot;

use crate::connection::open_reader;
use crate::failure::{Failure, Outcome};
use crate::recent_index::RecentIndex;
use crate::shared::Shared;
use crate::state_row::StoreState;
use crate::{StoreError, StoreErrorKind};

/// The most questions that are answered at the same time. Each takes a thread and a connection.
const MAX_READERS: usize = 4;

/// The most questions that wait. They are answered in their order.
const MAX_WAITING: usize = 100_000;

/// How often a question is asked again because the index in memory was newer than its snapshot, before it has
/// the index copied. The writer waits for the copy.
const MAX_STALE: usize = 8;

/// A question, on the connection of a reader.
type Job = Box<dyn FnOnce(&Connection) + Send>;

/// The threads that answer questions. They do not depend on a runtime, so that nothing else delays a
/// question.
pub(crate) struct Readers(Arc<Pool>);

struct Pool {
    path: PathBuf,
    state: Mutex<PoolState>,
}

#[derive(Default)]
struct PoolState {
    waiting: VecDeque<Job>,
    /// The threads that wait for a question. The last one is woken first: its connection has the most pages
    /// in memory, and the processor has its data.
    idle: Vec<Thread>,
    readers: usize,
    threads: Vec<JoinHandle<()>>,
    is_closed: bool,
}

impl Readers {
    /// Opens a first connection. The others are opened when they are needed.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let connection = open_reader(path)?;
        let pool = Arc::new(Pool {
            path: path.to_owned(),
            state: Mutex::default(),
        });
        let started = pool.start(&mut pool.lock(), Some(connection));
        started.map_err(|error| StoreError::because(StoreErrorKind::Io, path, error))?;
        Ok(Self(pool))
    }

    /// Closes all connections, after the questions that are being answered.
    pub(crate) fn close(&self) {
        let this = thread::current().id();
        for thread in self.0.close() {
            if thread.thread().id() != this && thread.join().is_err() {
                tracing::error!(path = %self.0.path.display(), "a reader of the store failed");
            }
        }
    }

    fn push(&self, job: Job) -> Result<(), LogError> {
        let mut state = self.0.lock();
        if state.is_closed {
            return Err(self.0.closed());
        }
        if state.waiting.len() >= MAX_WAITING {
            return Err(LogError::lost("too many questions wait for the disk"));
        }
        state.waiting.push_back(job);
        if let Some(reader) = state.idle.pop() {
            drop(state);
            reader.unpark();
        } else if state.readers < MAX_READERS
            && let Err(error) = self.0.start(&mut state, None)
        {
            tracing::warn!(%error, path = %self.0.path.display(), "the store cannot have more readers");
        }
        Ok(())
    }
}

impl Drop for Readers {
    /// The threads end, but nothing waits for them: one of them may be this one.
    fn drop(&mut self) {
        drop(self.0.close());
    }
}

impl fmt::Debug for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.lock();
        f.debug_struct("Readers")
            .field("waiting", &state.waiting.len())
            .field("readers", &state.readers)
            .finish_non_exhaustive()
    }
}

impl Pool {
    /// Starts a reader. Without a connection, it opens one.
    fn start(
        self: &Arc<Self>,
        state: &mut PoolState,
        connection: Option<Connection>,
    ) -> io::Result<()> {
        let pool = Arc::clone(self);
        let name = format!("tidings-reader-{}", state.readers + 1);
        let thread = thread::Builder::new().name(name);
        let thread = thread.spawn(move || pool.serve(connection))?;
        state.threads.push(thread);
        state.readers += 1;
        Ok(())
    }

    fn serve(&self, connection: Option<Connection>) {
        match connection.map_or_else(|| open_reader(&self.path), Ok) {
            Ok(connection) => {
                while let Some(job) = self.next() {
                    // What fails is the question; its reply is dropped.
                    if catch_unwind(AssertUnwindSafe(|| job(&connection))).is_err() {
                        tracing::error!(path = %self.path.display(), "a question to the store failed");
                    }
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the store has one reader fewer");
                let mut state = self.lock();
                state.readers -= 1;
                // Otherwise the system keeps what belongs to the thread until it is joined.
                let this = thread::current().id();
                state.threads.retain(|thread| thread.thread().id() != this);
            }
        }
    }

    /// The next question; `None` if the readers were closed.
    fn next(&self) -> Option<Job> {
        let this = thread::current();
        loop {
            let mut state = self.lock();
            // It may have been woken by nobody.
            state.idle.retain(|idle| idle.id() != this.id());
            if state.is_closed || !state.waiting.is_empty() {
                return state.waiting.pop_front();
            }
            state.idle.push(this.clone());
            drop(state);
            thread::park();
        }
    }

    fn close(&self) -> Vec<JoinHandle<()>> {
        let mut state = self.lock();
        state.is_closed = true;
        let dropped = std::mem::take(&mut state.waiting);
        let threads = std::mem::take(&mut state.threads);
        let idle = std::mem::take(&mut state.idle);
        drop(state);
        idle.iter().for_each(Thread::unpark);
        drop(dropped);
        threads
    }

    fn closed(&self) -> LogError {
        StoreError::new(StoreErrorKind::Closed, &self.path).into()
    }

    fn lock(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One state of the log.
pub(crate) struct Snapshot<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) state: StoreState,
    pub(crate) shared: &'a Shared,
    /// The newest entry that was published before the snapshot was taken. The snapshot contains it.
    pub(crate) last: Place,
    /// A copy of the index in memory, if that moves on faster than the question is answered.
    index: Option<RecentIndex>,
    is_stale: Cell<bool>,
}

impl Snapshot<'_> {
    /// A look at the index in memory. If it has moved on, beyond this snapshot, the look fails, and the
    /// question is asked again with a newer snapshot.
    pub(crate) fn recent<T>(&self, look: impl FnOnce(&RecentIndex) -> T) -> Outcome<T> {
        let index = match &self.index {
            Some(index) => index,
            None => &lock(self.shared),
        };
        if index.start() <= self.state.indexed {
            return Ok(look(index));
        }
        self.is_stale.set(true);
        let (start, indexed) = (index.start(), self.state.indexed);
        let what = format!("the index on the disk ends at entry {indexed}, not at {start}");
        Err(Failure::damaged(what))
    }
}

fn lock(shared: &Shared) -> RwLockReadGuard<'_, RecentIndex> {
    let index = shared.recent_index.read();
    index.unwrap_or_else(PoisonError::into_inner)
}

/// Answers a question from one state of the log, on a thread of the readers. The question is asked again if
/// the index in memory has moved on.
///
/// If the future is dropped, a question that waits is never asked.
pub(crate) async fn ask<T: Send + 'static>(
    shared: &Arc<Shared>,
    question: impl Fn(&Snapshot<'_>) -> Outcome<T> + Send + 'static,
) -> Result<T, LogError> {
    let (reply, answer) = oneshot::channel();
    let of = Arc::clone(shared);
    let job = move |connection: &Connection| {
        if !reply.is_closed() {
            // Nobody may wait for it any more.
            drop(reply.send(answer_from(connection, &of, &question)));
        }
    };
    shared.readers.push(Box::new(job))?;
    answer.await.unwrap_or_else(|_| {
        Err(if shared.readers.0.lock().is_closed {
            shared.readers.0.closed()
        } else {
            LogError::lost("the question failed")
        })
    })
}

fn answer_from<T>(
    connection: &Connection,
    shared: &Shared,
    question: &impl Fn(&Snapshot<'_>) -> Outcome<T>,
) -> Result<T, LogError> {
    for attempt in 0..=MAX_STALE {
        let must_copy = attempt == MAX_STALE;
        let answer = look(connection, shared, must_copy, question);
        if let Some(answer) = answer.transpose() {
            return answer.map_err(|failure| failure.answer(&shared.path));
        }
    }
    unreachable!("the copy of the index does not change")
}

/// Asks the question; `None` if the snapshot was too old.
fn look<T>(
    connection: &Connection,
    shared: &Shared,
    must_copy: bool,
    question: &impl Fn(&Snapshot<'_>) -> Outcome<T>,
) -> Outcome<Option<T>> {
    // Before the snapshot, so that the snapshot contains it.
    let last = shared.published().bounds()?.last;
    // Dropped at the end, also by a panic.
    let _pin = connection.unchecked_transaction()?;
    // While it is locked, the index does not move on, so the copy is not newer than the snapshot.
    let index = must_copy.then(|| lock(shared));
    let state = StoreState::read(connection)?;
    let index = index.map(|index| index.copy());
    let snapshot = Snapshot {
        connection,
        state,
        shared,
        last,
        index,
        is_stale: Cell::new(false),
    };
    let answer = question(&snapshot);
    if snapshot.is_stale.get() {
        Ok(None)
    } else {
        answer.map(Some)
    }
}

#[cfg(test)]
mod tests;
