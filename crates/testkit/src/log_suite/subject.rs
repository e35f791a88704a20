//! `Subject`: a log under test, with a limit on each wait.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tidings_hub::{
    Abilities, Appended, Bounds, ChannelName, Draft, Entry, Located, Log, LogError, LogErrorKind,
    Page, Pattern, Place, Scope, Start, StoredChannel, Tail,
};
use tidings_proto::{EntryCheck, Epoch, Position};

use crate::timeout::timeout;

/// The limit on each operation of a log.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub(super) struct Subject(pub(super) Arc<dyn Log>);

impl Subject {
    pub(super) fn abilities(&self) -> Abilities {
        self.0.abilities()
    }

    pub(super) async fn append(&self, draft: Draft) -> Appended {
        must(self.0.append(draft)).await
    }

    /// Appends an event without a key.
    pub(super) async fn publish(&self, channel: &str, body: impl Into<Vec<u8>>) -> u64 {
        let appended = self.append(event(channel, body)).await;
        assert!(!appended.is_repeat, "an append without a key is no repeat");
        appended.seq
    }

    /// Appends the end of a channel.
    pub(super) async fn end(&self, channel: &str) -> u64 {
        self.append(end(channel)).await.seq
    }

    /// The error of an append that must fail.
    pub(super) async fn refuse(&self, draft: Draft) -> LogErrorKind {
        let appended = within(self.0.append(draft)).await;
        appended.expect_err("this append must fail").kind()
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

    pub(super) async fn newest(&self) -> Position {
        self.bounds().await.newest()
    }

    /// The position of the floor or of an entry that the log holds.
    pub(super) async fn position(&self, seq: u64) -> Position {
        let bounds = self.bounds().await;
        let newest = bounds.newest();
        if let Some(place) = [bounds.floor, bounds.last].iter().find(|p| p.seq == seq) {
            return place.in_epoch(&bounds.epoch);
        }
        let page = self.read_to(&newest, seq - 1, 1, &[]).await.unwrap();
        place_of(&page.entries[0]).in_epoch(&bounds.epoch)
    }

    pub(super) async fn ends(&self) -> Vec<(String, u64)> {
        let ends = must(self.0.ends()).await.into_iter();
        let mut ends: Vec<_> = ends.map(|(name, seq)| (name.to_string(), seq)).collect();
        ends.sort_by_key(|(_, seq)| *seq);
        ends
    }

    pub(super) async fn channel(&self, channel: &str) -> Option<StoredChannel> {
        must(self.0.channel(&name(channel))).await
    }

    pub(super) async fn channels(&self, after: Option<&str>, limit: usize) -> Vec<StoredChannel> {
        let after = after.map(name);
        must(self.0.channels(after.as_ref(), limit)).await
    }

    /// A page of the entries of these channels, up to the newest one.
    pub(super) async fn read(
        &self,
        after: u64,
        limit: usize,
        channels: &[&str],
    ) -> Result<Page, LogErrorKind> {
        let newest = self.newest().await;
        self.read_to(&newest, after, limit, channels).await
    }

    pub(super) async fn read_to(
        &self,
        newest: &Position,
        after: u64,
        limit: usize,
        channels: &[&str],
    ) -> Result<Page, LogErrorKind> {
        let patterns = patterns_of(channels);
        let scope = Scope::new(&patterns, newest);
        let page = within(self.0.read(after, limit, scope)).await;
        page.map_err(|error| error.kind())
    }

    /// All entries of these channels after `after`, page by page.
    pub(super) async fn read_all(&self, after: u64, channels: &[&str]) -> Vec<Entry> {
        self.read_in_pages(after, 100, channels).await
    }

    pub(super) async fn read_in_pages(
        &self,
        after: u64,
        limit: usize,
        channels: &[&str],
    ) -> Vec<Entry> {
        let newest = self.newest().await;
        self.read_in_pages_to(&newest, after, limit, channels).await
    }

    pub(super) async fn read_in_pages_to(
        &self,
        newest: &Position,
        after: u64,
        limit: usize,
        channels: &[&str],
    ) -> Vec<Entry> {
        let mut entries = Vec::new();
        let mut at = after;
        while at < newest.seq {
            let page = self.read_to(newest, at, limit, channels).await.unwrap();
            assert!(page.through > at, "a page makes progress");
            assert!(page.through <= newest.seq, "a page ends with its scope");
            at = page.through;
            entries.extend(page.entries);
        }
        entries
    }

    pub(super) async fn locate(&self, start: Start, channels: &[&str]) -> Located {
        let newest = self.newest().await;
        self.locate_to(&newest, start, channels).await.unwrap()
    }

    pub(super) async fn locate_to(
        &self,
        newest: &Position,
        start: Start,
        channels: &[&str],
    ) -> Result<Located, LogErrorKind> {
        let patterns = patterns_of(channels);
        let scope = Scope::new(&patterns, newest);
        let located = within(self.0.locate(start, scope)).await;
        located.map_err(|error| error.kind())
    }

    /// The place that the log finds, and how many events are missed.
    pub(super) async fn find(&self, start: Start, channels: &[&str]) -> (Place, u64) {
        held(self.locate(start, channels).await)
    }

    /// A tail after this entry, which the log holds.
    pub(super) async fn tail(&self, after: u64) -> TailReader {
        let position = self.position(after).await;
        self.tail_from(&position)
    }

    pub(super) fn tail_from(&self, after: &Position) -> TailReader {
        TailReader {
            tail: self.0.tail(after),
            batch: VecDeque::new(),
        }
    }

    pub(super) async fn renew(&self, expected: &Epoch) -> Epoch {
        must(self.0.renew_epoch(expected)).await
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
    pub(super) async fn error(&mut self) -> LogErrorKind {
        let error = self.next().await.expect_err("this tail must fail");
        assert!(
            within(self.tail.next()).await.is_none(),
            "an error is the last item of a tail"
        );
        error.kind()
    }
}

pub(super) async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("it takes over 5 s")
}

pub(super) async fn must<T, E: Debug>(future: impl Future<Output = Result<T, E>>) -> T {
    within(future).await.unwrap()
}

pub(super) fn name(channel: &str) -> ChannelName {
    ChannelName::new(channel).unwrap()
}

pub(super) fn event(channel: &str, body: impl Into<Vec<u8>>) -> Draft {
    Draft::event(name(channel), body.into())
}

pub(super) fn end(channel: &str) -> Draft {
    Draft::end(name(channel))
}

pub(super) fn patterns_of(texts: &[&str]) -> Vec<Pattern> {
    let patterns = texts.iter().map(Pattern::new);
    patterns.collect::<Result<_, _>>().unwrap()
}

pub(super) fn place_of(entry: &Entry) -> Place {
    Place {
        seq: entry.seq,
        check: entry.check(),
    }
}

/// A check that no entry has which has this one.
pub(super) fn other_check(check: EntryCheck) -> EntryCheck {
    let others = [1, 2].map(EntryCheck::from_hash);
    others.into_iter().find(|other| *other != check).unwrap()
}

/// The place that was found, and how many events are missed.
#[track_caller]
pub(super) fn held(located: Located) -> (Place, u64) {
    match located {
        Located::Held { place, missed } => (place, missed),
        Located::Unknown { .. } => panic!("the log holds the place: {located:?}"),
    }
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
