//! `RecordingLog`: a slow log that records each change in the ledger.

use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::task::Poll;

use super::ledger::Book;
use super::op::Setup;
use crate::model_log::{ModelLog, Restart};
use futures_util::{FutureExt, StreamExt, stream};
use tidings_hub::{
    Abilities, Appended, Bounds, ChannelName, Draft, Entry, Located, Log, LogError, LogErrorKind,
    LogFuture, Page, Retention, Scope, Start, StoredChannel, Tail,
};
use tidings_proto::{Epoch, Position};

/// A log under the model that records each change in the ledger, and may be slow.
#[derive(Clone)]
pub(super) struct RecordingLog {
    engine: Arc<dyn ModelLog>,
    book: Book,
    /// The maximum number of polls for which a method waits, before and again after its work.
    delays: usize,
}

impl RecordingLog {
    /// The log of a case, and its ledger.
    pub(super) fn new(setup: &Setup) -> (Self, Book) {
        let retention = Retention::in_memory()
            .max_events(setup.max_events)
            .max_age(setup.max_age)
            .remembered_channels(setup.remembered_channels);
        let engine: Arc<dyn ModelLog> = Arc::from(setup.log.make(retention));
        let log = engine.log();
        let epoch = now(log.bounds()).unwrap().epoch;
        let book = Book::new(epoch, log.abilities(), setup);
        let this = Self {
            engine,
            book: book.clone(),
            delays: setup.delays,
        };
        (this, book)
    }

    pub(super) fn append_now(&self, draft: Draft) -> Result<Appended, LogError> {
        let token = token_of(&draft.body);
        let channel = draft.channel.clone();
        let log = self.engine.log();
        self.record_expired();
        let appended = now(log.append(draft));
        let appended = appended.inspect_err(|error| {
            if error.kind() == LogErrorKind::Ended {
                self.book.open().handle_refusal(&channel);
            }
        })?;
        let bounds = self.bounds_now();
        let mut book = self.book.open();
        if !appended.is_repeat {
            let newest = bounds.newest();
            let page = now(log.read(appended.seq - 1, 1, Scope::all(&newest)))?;
            book.handle_entry(&page.entries[0], token, bounds.floor.seq + 1);
        }
        let at = book.at(appended.seq).unwrap();
        book.answers.entry(token).or_default().push(at);
        Ok(appended)
    }

    fn bounds_now(&self) -> Bounds {
        now(self.engine.log().bounds()).unwrap()
    }

    pub(super) fn trim(&self, first: u64) {
        self.engine.trim(first);
        self.record_expired();
    }

    /// Records that the log has removed entries because of their age, as it may at each call.
    pub(super) fn record_expired(&self) {
        let floor = self.bounds_now().floor.seq;
        self.book.open().handle_first(floor + 1);
    }

    pub(super) fn rewind(&self, last: u64) {
        self.record_expired();
        let has_gone_back = self.engine.rewind(last);
        let bounds = self.bounds_now();
        let mut book = self.book.open();
        if has_gone_back {
            book.handle_rewind(bounds.last.seq);
        }
        book.handle_epoch(bounds.epoch);
    }

    pub(super) fn restart(&self, how: Restart) {
        self.record_expired();
        let before = self.bounds_now();
        self.engine.restart(how);
        let after = self.bounds_now();
        assert_eq!(after.last, before.last, "a restart loses nothing");
        let mut book = self.book.open();
        book.handle_first(after.floor.seq + 1);
        book.handle_epoch(after.epoch);
    }

    pub(super) fn renew_now(&self, expected: &Epoch) -> Result<Epoch, LogError> {
        let epoch = now(self.engine.log().renew_epoch(expected))?;
        self.book.open().handle_epoch(epoch.clone());
        Ok(epoch)
    }

    /// The answer that a method finds between two waits.
    fn slowly<'a, T: Send + 'a>(
        &'a self,
        find: impl FnOnce(&dyn Log) -> Result<T, LogError> + Send + 'a,
    ) -> LogFuture<'a, T> {
        self.slowly_done(move || find(&*self.engine.log()))
    }

    fn slowly_done<'a, T: Send + 'a>(
        &'a self,
        find: impl FnOnce() -> Result<T, LogError> + Send + 'a,
    ) -> LogFuture<'a, T> {
        Box::pin(async move {
            self.wait().await;
            let found = find();
            self.record_expired();
            self.lose().await;
            self.wait().await;
            found
        })
    }

    async fn wait(&self) {
        wait(&self.book, self.delays).await;
    }

    /// Waits for ever if the answer of this call is lost.
    async fn lose(&self) {
        let is_lost = self.book.open().take_loss();
        if is_lost {
            pending::<()>().await;
        }
    }
}

impl Log for RecordingLog {
    fn abilities(&self) -> Abilities {
        self.engine.log().abilities()
    }

    fn bounds(&self) -> LogFuture<'_, Bounds> {
        self.slowly(|log| now(log.bounds()))
    }

    fn ends(&self) -> LogFuture<'_, Vec<(ChannelName, u64)>> {
        self.slowly(|log| now(log.ends()))
    }

    fn channel<'a>(&'a self, name: &'a ChannelName) -> LogFuture<'a, Option<StoredChannel>> {
        self.slowly(move |log| now(log.channel(name)))
    }

    fn channels<'a>(
        &'a self,
        after: Option<&'a ChannelName>,
        limit: usize,
    ) -> LogFuture<'a, Vec<StoredChannel>> {
        self.slowly(move |log| now(log.channels(after, limit)))
    }

    fn append(&self, draft: Draft) -> LogFuture<'_, Appended> {
        let appended = self.append_now(draft);
        let is_lost = self.book.open().take_loss();
        Box::pin(async move {
            if is_lost {
                pending::<()>().await;
            }
            self.wait().await;
            appended
        })
    }

    fn locate<'a>(&'a self, start: Start, scope: Scope<'a>) -> LogFuture<'a, Located> {
        self.slowly(move |log| now(log.locate(start, scope)))
    }

    fn read<'a>(&'a self, after: u64, limit: usize, scope: Scope<'a>) -> LogFuture<'a, Page> {
        // Small pages: the log may change between two of them.
        let limit = if self.delays > 0 { limit.min(7) } else { limit };
        self.slowly(move |log| now(log.read(after, limit, scope)))
    }

    fn tail(&self, after: &Position) -> Tail {
        let (book, delays) = (self.book.clone(), self.delays);
        let batches = self.engine.log().tail(after);
        let batches = batches.flat_map(move |batch| stream::iter(parts(&book, delays, batch)));
        let this = self.clone();
        Box::pin(batches.then(move |part| {
            let this = this.clone();
            async move {
                this.wait().await;
                this.lose().await;
                part
            }
        }))
    }

    fn renew_epoch<'a>(&'a self, expected: &'a Epoch) -> LogFuture<'a, Epoch> {
        self.slowly_done(|| self.renew_now(expected))
    }
}

type Batch = Result<Vec<Entry>, LogError>;

/// Cuts a batch into smaller ones at random, if the log is slow.
fn parts(book: &Book, delays: usize, batch: Batch) -> Vec<Batch> {
    let Ok(mut entries) = batch else {
        return vec![batch];
    };
    let mut parts = Vec::new();
    while delays > 0 && entries.len() > 1 && book.open().rng.bool() {
        let at = book.open().rng.usize(1..entries.len());
        let rest = entries.split_off(at);
        parts.push(Ok(std::mem::replace(&mut entries, rest)));
    }
    parts.push(Ok(entries));
    parts
}

async fn wait(book: &Book, delays: usize) {
    let mut delays = if delays == 0 {
        0
    } else {
        book.open().rng.usize(..=delays)
    };
    poll_fn(|cx| {
        if delays == 0 {
            return Poll::Ready(());
        }
        delays -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The number in an event's text; 0 for an end.
fn token_of(body: &[u8]) -> u64 {
    let body = std::str::from_utf8(body).unwrap();
    let text = body.split_once("data: t").map(|(_, text)| text);
    let digits = text.and_then(|text| text.split([' ', '\n']).next());
    digits.map_or(0, |digits| digits.parse().unwrap())
}

/// The result of a method of a log under the model, which never waits.
fn now<T>(future: LogFuture<'_, T>) -> Result<T, LogError> {
    future.now_or_never().unwrap()
}
