//! `RecordingLog`: a slow log in memory that records each change in the ledger.

use std::future::{Future, pending, poll_fn};
use std::task::Poll;

use futures_util::{FutureExt, StreamExt, stream};
use tidings_hub::{
    Appended, Bounds, ChannelName, Draft, Entry, Log, LogError, LogFuture, MemoryLog, Page,
    Pattern, Tail,
};
use tidings_proto::Epoch;

use crate::ledger::Book;

/// A log in memory that records each change in the ledger, and may be slow.
#[derive(Clone)]
pub(crate) struct RecordingLog {
    log: MemoryLog,
    book: Book,
    /// The maximum number of polls for which a method waits, before and again after its work.
    delays: usize,
}

impl RecordingLog {
    pub(crate) fn new(log: MemoryLog, book: Book, delays: usize) -> Self {
        Self { log, book, delays }
    }

    pub(crate) fn append_now(&self, draft: Draft) -> Result<Appended, LogError> {
        let token = token_of(&draft.body);
        let appended = now(self.log.append(draft))?;
        let bounds = self.bounds_now();
        let mut book = self.book.open();
        if !appended.is_repeat {
            let (seq, log) = (appended.seq, &self.log);
            let page = now(log.read(seq - 1, seq, &[], 1))?;
            book.handle_entry(&page.entries[0], token, bounds.first);
        }
        let at = book.at(appended.seq).unwrap();
        book.answers.entry(token).or_default().push(at);
        Ok(appended)
    }

    pub(crate) fn bounds_now(&self) -> Bounds {
        now(self.log.bounds()).unwrap()
    }

    pub(crate) fn trim(&self, first: u64) {
        self.log.trim(first);
        let first = self.bounds_now().first;
        self.book.open().handle_first(first);
    }

    pub(crate) fn rewind(&self, last: u64) {
        self.log.rewind(last);
        let last = self.bounds_now().last;
        self.book.open().handle_rewind(last);
    }

    pub(crate) fn renew_now(&self, expected: &Epoch) -> Result<Epoch, LogError> {
        let epoch = now(self.log.renew_epoch(expected))?;
        self.book.open().handle_epoch(epoch.clone());
        Ok(epoch)
    }

    async fn wait(&self) {
        wait(&self.book, self.delays).await;
    }

    async fn slowly<T>(
        &self,
        what: impl Future<Output = Result<T, LogError>>,
    ) -> Result<T, LogError> {
        self.wait().await;
        let done = what.await;
        if self.book.open().take_loss() {
            pending::<()>().await;
        }
        self.wait().await;
        done
    }
}

impl Log for RecordingLog {
    fn bounds(&self) -> LogFuture<'_, Bounds> {
        Box::pin(self.slowly(async { Ok(self.bounds_now()) }))
    }

    fn ends(&self) -> LogFuture<'_, Vec<(ChannelName, u64)>> {
        Box::pin(self.slowly(async { now(self.log.ends()) }))
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

    fn read<'a>(
        &'a self,
        after: u64,
        up_to: u64,
        patterns: &'a [Pattern],
        limit: usize,
    ) -> LogFuture<'a, Page> {
        // Small pages: the log may change between two of them.
        let limit = if self.delays > 0 { limit.min(7) } else { limit };
        Box::pin(self.slowly(async move { now(self.log.read(after, up_to, patterns, limit)) }))
    }

    fn tail(&self, after: u64) -> Tail {
        let (book, delays) = (self.book.clone(), self.delays);
        let batches = self
            .log
            .tail(after)
            .flat_map(move |batch| stream::iter(parts(&book, delays, batch)));
        let book = self.book.clone();
        Box::pin(batches.then(move |part| {
            let book = book.clone();
            async move {
                wait(&book, delays).await;
                if book.open().take_loss() {
                    pending::<()>().await;
                }
                part
            }
        }))
    }

    fn renew_epoch<'a>(&'a self, expected: &'a Epoch) -> LogFuture<'a, Epoch> {
        Box::pin(self.slowly(async { self.renew_now(expected) }))
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

/// The result of a method of the log in memory, which never waits.
fn now<T>(future: LogFuture<'_, T>) -> Result<T, LogError> {
    future.now_or_never().unwrap()
}
