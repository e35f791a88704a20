//! The laws of every log, over stores of each kind of options, and over stores that are closed and opened
//! again between the calls.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tidings_hub::{
    Abilities, Appended, Bounds, ChannelName, Draft, Located, Log, LogError, LogErrorKind,
    LogFuture, Page, Retention, Scope, Start, StoredChannel, Tail,
};
use tidings_proto::{Epoch, Position};
use tidings_store::{Durability, StoreLog, StoreOptions};
use tidings_testkit::interpose::{Interpose, Interposed};
use tidings_testkit::log_suite::log_suite;
use tidings_testkit::settled_log::wait;
use tidings_testkit::temp_dir::TempDir;

#[tokio::test(flavor = "multi_thread")]
async fn a_store_passes_the_log_suite() {
    // On the disk, so that its delays are real.
    check(StoreLog::options(), TempDir::new).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_writes_its_index_at_once_passes_the_log_suite() {
    check(StoreLog::options().index_batch(1), TempDir::in_memory).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_writes_its_index_often_passes_the_log_suite() {
    check(StoreLog::options().index_batch(7), TempDir::in_memory).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_synchronizes_at_intervals_passes_the_log_suite() {
    let often = Durability::Interval(Duration::from_millis(1));
    check(StoreLog::options().durability(often), TempDir::new).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_buffered_store_passes_the_log_suite() {
    let options = StoreLog::options().durability(Durability::Buffered);
    check(options, TempDir::new).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_opened_again_and_again_passes_the_log_suite() {
    check_reopened(StoreLog::options()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_opened_again_with_its_index_on_the_disk_passes_the_log_suite() {
    check_reopened(StoreLog::options().index_batch(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_buffered_store_that_is_opened_again_passes_the_log_suite() {
    check_reopened(StoreLog::options().durability(Durability::Buffered)).await;
}

async fn check(options: StoreOptions, dir: fn() -> TempDir) {
    log_suite(async |retention| {
        let dir = dir();
        let log = options.retention(retention).open(dir.join("events.db"));
        let log = log.unwrap();
        Arc::new(Interposed(Housed { log, _dir: dir })) as Arc<dyn Log>
    })
    .await;
}

/// A store, and its directory.
struct Housed {
    log: StoreLog,
    _dir: TempDir,
}

impl Interpose for Housed {
    fn inner(&self) -> &dyn Log {
        &self.log
    }
}

async fn check_reopened(options: StoreOptions) {
    log_suite(async |retention| {
        let log = ReopenedLog::new(options, retention);
        Arc::new(log) as Arc<dyn Log>
    })
    .await;
}

/// A store that is closed and opened again before some appends. Its questions and tails continue with the
/// store that was opened then.
#[derive(Clone)]
struct ReopenedLog(Arc<Reopened>);

struct Reopened {
    options: StoreOptions,
    current: RwLock<Opened>,
    appends: AtomicU32,
    dir: TempDir,
}

/// A store. It is never freed, so that a future of it may outlive its successor.
#[derive(Clone, Copy)]
struct Opened {
    log: &'static StoreLog,
    generation: u32,
}

impl ReopenedLog {
    fn new(options: StoreOptions, retention: Retention) -> Self {
        let dir = TempDir::in_memory();
        let options = options.retention(retention);
        let current = RwLock::new(open(options, &dir, 0));
        Self(Arc::new(Reopened {
            options,
            current,
            appends: AtomicU32::new(0),
            dir,
        }))
    }

    fn current(&self) -> Opened {
        *self
            .0
            .current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn reopen_if_due(&self) {
        let number = self.0.appends.fetch_add(1, Ordering::SeqCst);
        // Often at first, and seldom in a law that appends much.
        let is_due = if number < 100 {
            number % 5 == 4
        } else {
            number.is_multiple_of(211)
        };
        if is_due {
            let mut current = self.0.current.write().unwrap();
            wait(current.log.close()).unwrap();
            *current = open(self.0.options, &self.0.dir, current.generation + 1);
        }
    }

    /// The answer of the current store. If it was closed before it could answer, its successor answers.
    fn ask<'a, T: Send + 'a>(
        &'a self,
        question: impl Fn(&'static StoreLog) -> LogFuture<'a, T> + Send + 'a,
    ) -> LogFuture<'a, T> {
        let asked = self.current();
        let mut answer = question(asked.log);
        Box::pin(async move {
            let mut generation = asked.generation;
            loop {
                let answered = answer.await;
                let current = self.current();
                if !is_lost(&answered) || current.generation == generation {
                    return answered;
                }
                generation = current.generation;
                answer = question(current.log);
            }
        })
    }
}

fn open(options: StoreOptions, dir: &TempDir, generation: u32) -> Opened {
    let log = options.open(dir.join("events.db")).unwrap();
    let log = Box::leak(Box::new(log));
    Opened { log, generation }
}

fn is_lost<T>(answer: &Result<T, LogError>) -> bool {
    let error = answer.as_ref().err();
    error.is_some_and(|error| error.kind() == LogErrorKind::Lost)
}

impl Drop for Reopened {
    fn drop(&mut self) {
        let current = self.current.get_mut();
        let current = current.unwrap_or_else(PoisonError::into_inner);
        wait(current.log.close()).unwrap();
    }
}

impl Log for ReopenedLog {
    fn abilities(&self) -> Abilities {
        self.current().log.abilities()
    }

    fn bounds(&self) -> LogFuture<'_, Bounds> {
        self.ask(|log| log.bounds())
    }

    fn ends(&self) -> LogFuture<'_, Vec<(ChannelName, u64)>> {
        self.ask(|log| log.ends())
    }

    fn channel<'a>(&'a self, name: &'a ChannelName) -> LogFuture<'a, Option<StoredChannel>> {
        self.ask(|log| log.channel(name))
    }

    fn channels<'a>(
        &'a self,
        after: Option<&'a ChannelName>,
        limit: usize,
    ) -> LogFuture<'a, Vec<StoredChannel>> {
        self.ask(move |log| log.channels(after, limit))
    }

    fn append(&self, draft: Draft) -> LogFuture<'_, Appended> {
        self.reopen_if_due();
        // The number is assigned by this call, and appends before the close of a store are stored.
        let current = self.0.current.read().unwrap();
        current.log.append(draft)
    }

    fn locate<'a>(&'a self, start: Start, scope: Scope<'a>) -> LogFuture<'a, Located> {
        self.ask(move |log| log.locate(start, scope))
    }

    fn read<'a>(&'a self, after: u64, limit: usize, scope: Scope<'a>) -> LogFuture<'a, Page> {
        self.ask(move |log| log.read(after, limit, scope))
    }

    fn tail(&self, after: &Position) -> Tail {
        let current = self.current();
        let tail = current.log.tail(after);
        let begin = Some((self.clone(), current, tail, after.clone()));
        Box::pin(stream::unfold(begin, async |state| {
            let (log, mut opened, mut tail, mut at) = state?;
            loop {
                let batch = tail.next().await.unwrap();
                let current = log.current();
                let was_closed = current.generation != opened.generation;
                if is_lost(&batch) && was_closed && log.has_epoch(&at.epoch).await {
                    opened = current;
                    tail = opened.log.tail(&at);
                    continue;
                }
                let Ok(entries) = &batch else {
                    return Some((batch, None));
                };
                let newest = entries.last().unwrap();
                (at.seq, at.check) = (newest.seq, newest.check());
                return Some((batch, Some((log, opened, tail, at))));
            }
        }))
    }

    fn renew_epoch<'a>(&'a self, expected: &'a Epoch) -> LogFuture<'a, Epoch> {
        self.ask(|log| log.renew_epoch(expected))
    }
}

impl ReopenedLog {
    async fn has_epoch(&self, epoch: &Epoch) -> bool {
        self.bounds().await.unwrap().epoch == *epoch
    }
}
