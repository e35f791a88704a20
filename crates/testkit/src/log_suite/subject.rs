//! `Subject`: a log under test, with a limit on each wait.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use crate::timeout::timeout;
use futures_util::StreamExt;
use tidings_hub::{
    Appended, Bounds, ChannelName, Draft, Entry, Log, LogError, Page, Pattern, Tail,
};

/// The limit on each operation of a log.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub(super) struct Subject(pub(super) Arc<dyn Log>);

impl Subject {
    pub(super) async fn append(&self, draft: Draft) -> Appended {
        must(self.0.append(draft)).await
    }

    /// Appends an event without a key.
    pub(super) async fn publish(&self, channel: &str, body: impl Into<Vec<u8>>) -> u64 {
        let appended = self.append(event(channel, body)).await;
        assert!(!appended.is_repeat, "an append without a key is no repeat");
        appended.seq
    }

    /// Appends this many events to three channels in turn.
    pub(super) async fn fill(&self, count: usize) {
        for n in 0..count {
            let channel = ["a", "a/b", "c"][n % 3];
            self.publish(channel, n.to_string()).await;
        }
    }

    pub(super) async fn bounds(&self) -> Bounds {
        must(self.0.bounds()).await
    }

    pub(super) async fn ends(&self) -> Vec<(String, u64)> {
        let ends = must(self.0.ends()).await.into_iter();
        let mut ends: Vec<_> = ends.map(|(name, seq)| (name.to_string(), seq)).collect();
        ends.sort_by_key(|(_, seq)| *seq);
        ends
    }

    pub(super) async fn read(
        &self,
        after: u64,
        up_to: u64,
        patterns: &[Pattern],
        limit: usize,
    ) -> Result<Page, LogError> {
        within(self.0.read(after, up_to, patterns, limit)).await
    }

    /// All entries of these channels after `after`, page by page.
    pub(super) async fn read_all(&self, after: u64, patterns: &[&str]) -> Vec<Entry> {
        let patterns = patterns_of(patterns);
        let last = self.bounds().await.last;
        let mut entries = Vec::new();
        let mut at = after;
        while at < last {
            let page = self.read(at, last, &patterns, 100).await.unwrap();
            assert!(page.through > at, "a page makes progress");
            at = page.through;
            entries.extend(page.entries);
        }
        entries
    }

    pub(super) fn tail(&self, after: u64) -> TailReader {
        TailReader {
            tail: self.0.tail(after),
            batch: VecDeque::new(),
        }
    }
}

/// Reads a tail entry by entry.
pub(super) struct TailReader {
    pub(super) tail: Tail,
    batch: VecDeque<Entry>,
}

impl TailReader {
    pub(super) async fn next(&mut self) -> Result<Entry, LogError> {
        if self.batch.is_empty() {
            let batch = within(self.tail.next()).await;
            self.batch = batch.expect("a tail ends with an error")?.into();
        }
        Ok(self.batch.pop_front().expect("a batch is not empty"))
    }

    pub(super) async fn take(&mut self, count: usize) -> Vec<Entry> {
        let mut entries = Vec::new();
        while entries.len() < count {
            entries.push(self.next().await.unwrap());
        }
        entries
    }

    /// The error that ends the tail. Checks that no item follows it.
    pub(super) async fn error(&mut self) -> LogError {
        let error = self.next().await.expect_err("this tail must fail");
        assert!(
            within(self.tail.next()).await.is_none(),
            "an error is the last item of a tail"
        );
        error
    }
}

pub(super) async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("it takes over 5 s")
}

pub(super) async fn must<T, E: Debug>(future: impl Future<Output = Result<T, E>>) -> T {
    within(future).await.unwrap()
}

pub(super) fn event(channel: &str, body: impl Into<Vec<u8>>) -> Draft {
    Draft::event(ChannelName::new(channel).unwrap(), body.into())
}

pub(super) fn end(channel: &str) -> Draft {
    Draft::end(ChannelName::new(channel).unwrap())
}

pub(super) fn patterns_of(texts: &[&str]) -> Vec<Pattern> {
    let patterns = texts.iter().map(Pattern::new);
    patterns.collect::<Result<_, _>>().unwrap()
}

pub(super) fn seqs(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.seq).collect()
}

/// Asserts that the sequence numbers of these entries are contiguous from `first`.
#[track_caller]
pub(super) fn assert_contiguous(entries: &[Entry], first: u64) {
    let expected = (first..).take(entries.len());
    assert!(
        expected.eq(entries.iter().map(|entry| entry.seq)),
        "from {first} on: {:?}",
        seqs(entries)
    );
}
