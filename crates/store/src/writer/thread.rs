//! `Thread`: the loop of the writer, which takes commands, commits them, publishes, and replies.

use std::collections::VecDeque;
use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tidings_hub::LogError;

use super::checkpointer::Checkpointer;
use super::closing::Close;
use super::commit::{Staged, read};
use super::replies::{Reply, Trim};
use super::retention::expiry;
use super::sweep::threshold;
use super::turn::{decide, keep};
use super::upkeep::Upkeep;
use super::{Settings, Sync, Writer};
use crate::clock;
use crate::lock::StoreLock;
use crate::queue::Command;
use crate::shared::Shared;
use crate::{Durability, StoreError, StoreErrorKind};

/// The longest wait for a command.
pub(super) const MAX_WAIT: Duration = Duration::from_secs(3600);

/// How long the next commit waits for the users of the one before.
const GATHER: Duration = Duration::from_micros(100);

/// The threads of a store.
#[derive(Debug)]
pub(crate) struct WriterThread(JoinHandle<()>);

impl WriterThread {
    /// Waits until the threads have ended, after `Command::Close`.
    pub(crate) fn join(self) {
        if self.0.join().is_err() {
            tracing::warn!("the writer of a store has panicked");
        }
    }
}

pub(super) struct Thread {
    pub(super) writer: Writer,
    pub(super) shared: Arc<Shared>,
    pub(super) settings: Settings,
    pub(super) checkpointer: Checkpointer,
    pub(super) trims: Vec<Trim>,
    /// When the commits since the last synchronization must be synchronized.
    pub(super) sync_at: Option<Instant>,
    /// After a failure, work that no append waits for must wait until then.
    pub(super) idle_until: Option<Instant>,
    /// How many appends the last commit had.
    pub(super) appended: usize,
    /// The connection has failed and must be opened again.
    pub(super) is_broken: bool,
    /// Not before then, if it was opened again.
    pub(super) reopen_at: Option<Instant>,
    /// Released last.
    pub(super) lock: StoreLock,
}

impl Thread {
    pub(super) fn start(
        writer: Writer,
        shared: Arc<Shared>,
        lock: StoreLock,
    ) -> Result<WriterThread, StoreError> {
        let path = shared.path.clone();
        let thread = Self::new(writer, shared, lock)?;
        // If the thread does not start, what it was given is released here.
        let given = Arc::new(Mutex::new(Some(thread)));
        let of_thread = Arc::clone(&given);
        let take = |given: &Mutex<Option<Self>>| {
            given.lock().unwrap_or_else(PoisonError::into_inner).take()
        };
        let spawned = thread::Builder::new()
            .name("tidings-store".to_owned())
            .spawn(move || take(&of_thread).into_iter().for_each(Self::guard));
        let spawned = spawned.inspect_err(|_| take(&given).into_iter().for_each(Self::release));
        let io = |error| StoreError::because(StoreErrorKind::Io, &path, error);
        Ok(WriterThread(spawned.map_err(io)?))
    }

    pub(super) fn new(
        writer: Writer,
        shared: Arc<Shared>,
        lock: StoreLock,
    ) -> Result<Self, StoreError> {
        let checkpointer = match Checkpointer::start(&shared) {
            Ok(checkpointer) => checkpointer,
            Err(error) => {
                shared.readers.close();
                drop(writer);
                drop(lock);
                return Err(error);
            }
        };
        let mut this = Self {
            writer,
            settings: Settings::new(&shared.options),
            checkpointer,
            trims: Vec::new(),
            sync_at: None,
            idle_until: None,
            appended: 0,
            is_broken: false,
            reopen_at: None,
            lock,
            shared,
        };
        let is_unsynced = this.durability() != Durability::EveryCommit;
        let (index, settings) = (&this.shared.recent_index, &this.settings);
        match this.writer.mark(index, settings, is_unsynced) {
            Ok(()) => Ok(this),
            Err(failure) => {
                let error = failure.at(&this.shared.path);
                this.release();
                Err(error)
            }
        }
    }

    /// Runs, and answers everybody who waits if it panics.
    pub(super) fn guard(mut self) {
        if let Ok(close) = panic::catch_unwind(AssertUnwindSafe(|| self.run())) {
            return self.close(close);
        }
        self.shared
            .fail(LogError::lost("the writer of the store has panicked"));
        drop(self.shared.queue.close());
        self.release();
    }

    fn run(&mut self) -> Close {
        loop {
            self.gather();
            let patience = self.patience();
            let mut batch = self.shared.queue.take(patience);
            let close = match batch.pop_back() {
                Some(Command::Close { reply }) => Some(reply),
                Some(other) => {
                    batch.push_back(other);
                    None
                }
                None => None,
            };
            if !batch.is_empty() || self.is_due() {
                self.turn(batch);
            }
            if let Some(reply) = close {
                let result = self.last_commit();
                return Close { reply, result };
            }
        }
    }

    /// Gives the users whose appends were just committed the time to append again. Otherwise the next commit
    /// would have only the first of them, and all others would wait for it.
    fn gather(&mut self) {
        let appended = mem::take(&mut self.appended);
        if appended > 1 {
            self.shared.queue.gather(appended, GATHER);
        }
    }

    /// How long to wait for the next command.
    pub(super) fn patience(&mut self) -> Duration {
        let now = clock::now();
        let until = |at: Instant| at.saturating_duration_since(now);
        let idle = self.idle_until.map_or(Duration::ZERO, until);
        let mut wait = self.sync_at.map_or(MAX_WAIT, |at| until(at).max(idle));
        if self.is_awaited() {
            wait = wait.min(idle);
        }
        for part in Upkeep::ALL {
            if let Some(due) = self.due_in(part) {
                let rest = self.writer.pauses.until(part).map_or(idle, until);
                wait = wait.min(due.max(rest).max(idle));
            }
        }
        wait
    }

    /// Whether there is work although no command was given.
    pub(super) fn is_due(&mut self) -> bool {
        let now = clock::now();
        let has_come = |at: Option<Instant>| at.is_none_or(|at| at <= now);
        has_come(self.idle_until)
            && (self.is_awaited()
                || self.sync_at.is_some_and(|at| at <= now)
                || Upkeep::ALL.into_iter().any(|part| {
                    has_come(self.writer.pauses.until(part))
                        && self.due_in(part).is_some_and(|due| due.is_zero())
                }))
    }

    /// The time until there is work of this part of the upkeep, if that is known.
    fn due_in(&mut self, part: Upkeep) -> Option<Duration> {
        if self.writer.has_work(part, &self.settings) {
            return Some(Duration::ZERO);
        }
        match part {
            Upkeep::Removal if self.writer.may_remove(&self.settings) => self.expires_in(),
            Upkeep::Removal | Upkeep::Tidy | Upkeep::Keys => None,
        }
    }

    /// Whether there is work that no pause of the upkeep holds up: a trim that must wait is refused.
    fn is_awaited(&self) -> bool {
        self.is_broken || !self.trims.is_empty()
    }

    /// The time until the oldest entry is too old.
    pub(super) fn expires_in(&mut self) -> Option<Duration> {
        let writer = &mut self.writer;
        let retention = self.settings.retention;
        if retention.max_age.is_none() || writer.head.held() <= 1 || self.is_broken {
            return None;
        }
        let next = writer.head.floor() + 1;
        // A failure here is one of the next commit too.
        let oldest = writer.oldest.first(&writer.connection, next).ok()?;
        let expiry = expiry(retention, &oldest)?.saturating_add(1);
        Some(Duration::from_nanos(
            expiry.saturating_sub(writer.clock.now()),
        ))
    }

    /// Commits these commands, and continues the other work.
    pub(super) fn turn(&mut self, mut batch: VecDeque<Command>) {
        if let Err(error) = self.repair() {
            let error = LogError::refused(error);
            self.refuse_trims(&error);
            return self.refuse(batch, &error);
        }
        let sync = self.sync_of(&batch);
        let (settings, now) = (self.settings, self.writer.clock.now());
        let is_behind = self.is_behind();
        let must_write = sync == Sync::Full && self.sync_at.is_some();
        let mut replies = Vec::with_capacity(batch.len());
        let trims = &mut self.trims;
        let index = &self.shared.recent_index;
        let committed = self.writer.commit(index, &settings, sync, now, |commit| {
            commit.expire_keys(batch.len())?;
            decide(commit, &mut batch, trims, &mut replies)?;
            let first = trims.iter().map(|trim| trim.first).max();
            keep(commit, first.unwrap_or(0), is_behind)?;
            if must_write && commit.staged.entries.is_empty() {
                commit.staged.head.state.syncs += 1;
            }
            Ok(())
        });
        match committed {
            Ok(((), mut staged)) => {
                let failed = mem::take(&mut staged.failed);
                self.note_sync(sync);
                self.appended = replies.len();
                self.publish(staged);
                replies.into_iter().for_each(Reply::send);
                self.after_commit();
                self.note_upkeep(failed);
            }
            Err(broken) => self.fail(broken, replies, batch),
        }
    }

    /// Whether more index rows are in memory than sweeps in small steps can move in time.
    pub(super) fn is_behind(&self) -> bool {
        let most = 2 * threshold(&self.writer.head, self.settings.index_batch);
        read(&self.shared.recent_index).current_len() as u64 > most
    }

    fn sync_of(&self, batch: &VecDeque<Command>) -> Sync {
        let is_due = self.sync_at.is_some_and(|at| at <= clock::now());
        let is_epoch = |command: &Command| matches!(command, Command::RenewEpoch { .. });
        if self.durability() == Durability::EveryCommit || is_due || batch.iter().any(is_epoch) {
            Sync::Full
        } else {
            Sync::Later
        }
    }

    fn note_sync(&mut self, sync: Sync) {
        match (sync, self.durability()) {
            (Sync::Full, _) => self.sync_at = None,
            (Sync::Later, Durability::Interval(interval)) if self.sync_at.is_none() => {
                let interval = interval.max(Duration::from_millis(1));
                self.sync_at = clock::now().checked_add(interval);
            }
            (Sync::Later, _) => {}
        }
    }

    pub(super) fn durability(&self) -> Durability {
        self.shared.options.durability
    }

    pub(super) fn publish(&mut self, staged: Staged) {
        let entries = self.writer.apply(&self.shared.recent_index, staged);
        if entries.is_empty() && self.is_published() {
            return;
        }
        let head = &self.writer.head;
        let (floor, last) = (head.state.floor.place, head.last.place);
        self.shared.publish(|published| {
            published.epoch.clone_from(&head.state.epoch);
            published.ends_since = head.state.ends_since;
            (published.floor, published.last) = (floor, last);
            entries
                .into_iter()
                .for_each(|entry| published.recent.push(entry));
        });
    }

    fn is_published(&self) -> bool {
        let (head, published) = (&self.writer.head, self.shared.published());
        published.floor == head.state.floor.place
            && published.epoch == head.state.epoch
            && published.ends_since == head.state.ends_since
    }

    fn after_commit(&mut self) {
        self.idle_until = None;
        let head = &self.writer.head;
        let (first, is_least) = (head.floor() + 1, head.held() <= 1);
        let done = |trim: &mut Trim| trim.first <= first || is_least;
        for trim in self.trims.extract_if(.., done) {
            // Nobody may wait any more.
            drop(trim.reply.send(Ok(())));
        }
        self.writer
            .begin_sweep(&self.shared.recent_index, &self.settings);
        let checkpointer = &mut self.checkpointer;
        if let Err(failure) = checkpointer.after_commit(&self.writer.connection) {
            tracing::warn!(?failure, "the store could not begin a checkpoint");
        }
    }
}
