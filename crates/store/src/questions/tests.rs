//! Tests of the answers from the disk, beside those of a log in memory.

mod cached;
mod damage;
mod history;
mod store;
mod unpublished;

use std::sync::Arc;

use fastrand::Rng;
use futures_util::{FutureExt, StreamExt};
use tidings_hub::{
    ChannelName, Log, LogError, LogErrorKind, MemoryLog, Pattern, Place, Scope, Start,
};
use tidings_proto::Position;
use tidings_testkit::property;

use self::history::History;
use self::store::Split;
pub(crate) use self::store::TestStore;
use crate::shared::Shared;
use crate::{questions, tail};

/// Beside a log in memory, in one test of a store and a history.
struct Beside<'a> {
    shared: &'a Arc<Shared>,
    memory: &'a MemoryLog,
    history: &'a History,
    rng: &'a mut Rng,
}

#[tokio::test(start_paused = true)]
async fn a_store_answers_like_a_log_in_memory() {
    let mut rng = Rng::with_seed(property::seed());
    let mut store = TestStore::new();
    for case in 0..property::steps(150) {
        let channels = if case % 10 == 9 { 400 } else { 6 };
        let history = History::random(channels, &mut rng).await;
        for _ in 0..3 {
            let split = Split::random(&history, &mut rng);
            let shared = store.write(&history, &split);
            let mut beside = Beside {
                shared: &shared,
                memory: &history.memory,
                history: &history,
                rng: &mut rng,
            };
            beside.compare().await;
            shared.readers.close();
        }
    }
}

impl Beside<'_> {
    async fn compare(&mut self) {
        self.compare_channels().await;
        let names = self.history.names();
        for _ in 0..12 {
            let patterns = patterns(&names, self.rng);
            let newest = self.position();
            let scope = Scope::new(&patterns, &newest);
            self.compare_starts(scope).await;
            self.compare_reads(scope).await;
        }
        for _ in 0..4 {
            self.compare_tails().await;
        }
    }

    async fn compare_channels(&mut self) {
        let ends = questions::ends(self.shared).await.unwrap();
        assert_eq!(ends, self.memory.ends().await.unwrap());
        let names = self.history.names();
        for name in &names {
            let found = questions::channel(self.shared, name).await.unwrap();
            assert_eq!(found, self.memory.channel(name).await.unwrap());
        }
        for limit in [0, 1, 3, 1_000] {
            let after = self.rng.choice(&names).filter(|_| limit != 1_000);
            let found = questions::channels(self.shared, after, limit).await;
            let expected = self.memory.channels(after, limit).await;
            assert_eq!(found.unwrap(), expected.unwrap(), "{after:?} {limit}");
        }
    }

    /// A position that the log holds, has removed, or has never held.
    fn position(&mut self) -> Position {
        let last = self.history.entries.len() as u64;
        let seq = match self.rng.u8(..) {
            0..100 => last,
            100..240 => self.rng.u64(0..=last),
            240..250 => last + 1,
            _ => u64::MAX,
        };
        let mut position = self.history.place(seq).in_epoch(&self.history.epoch);
        match self.rng.u8(..) {
            0..5 => position.epoch = tidings_hub::random_epoch(),
            5..10 => position.check = tidings_proto::EntryCheck::from_hash(self.rng.u64(..)),
            _ => {}
        }
        position
    }

    async fn compare_starts(&mut self, scope: Scope<'_>) {
        let last = self.history.entries.len() as u64;
        let mut starts = vec![Start::Earliest, Start::Last(1), Start::Last(usize::MAX)];
        for _ in 0..3 {
            starts.push(Start::After(Place::from(&self.position())));
            starts.push(Start::Last(self.rng.usize(0..10)));
            let (after, to) = (self.rng.u64(0..=last + 1), self.rng.u64(0..=last + 1));
            starts.push(Start::Skip { after, to });
            starts.push(Start::Time(self.time()));
        }
        for start in starts {
            let found = questions::locate(self.shared, start, scope).await;
            let expected = self.memory.locate(start, scope).await;
            assert_eq!(kind(found), kind(expected), "{start:?} {scope:?}");
        }
    }

    fn time(&mut self) -> u64 {
        match self.rng.choice(&self.history.entries) {
            Some(entry) => entry.time + self.rng.u64(0..3) - 1,
            None => self.rng.u64(..),
        }
    }

    async fn compare_reads(&mut self, scope: Scope<'_>) {
        let last = self.history.entries.len() as u64;
        for _ in 0..4 {
            let after = self.rng.u64(0..=last + 2);
            let limit = *self.rng.choice(&[0, 1, 2, 7, usize::MAX]).unwrap();
            let found = questions::read(self.shared, after, limit, scope).await;
            let expected = self.memory.read(after, limit, scope).await;
            assert_eq!(kind(found), kind(expected), "{after} {limit} {scope:?}");
        }
    }

    async fn compare_tails(&mut self) {
        let position = self.position();
        let last = self.history.entries.len() as u64;
        let mut found = tail::stream(Arc::clone(self.shared), &position);
        let mut expected = self.memory.tail(&position);
        let mut at = position.seq;
        while at < last {
            let Some(expected) = expected.next().now_or_never() else {
                break;
            };
            let mut rest = match expected.unwrap() {
                Ok(batch) => batch,
                Err(error) => {
                    let failed = found.next().await.unwrap().unwrap_err();
                    assert_eq!(failed.kind(), error.kind(), "{position}");
                    assert!(found.next().await.is_none());
                    return;
                }
            };
            while !rest.is_empty() {
                let batch = found.next().await.unwrap().unwrap();
                let after = rest.split_off(batch.len());
                assert_eq!(batch, rest);
                at = batch.last().unwrap().seq;
                rest = after;
            }
        }
    }
}

/// What can be compared of an answer.
fn kind<T>(answer: Result<T, LogError>) -> Result<T, LogErrorKind> {
    answer.map_err(|error| error.kind())
}

/// Some patterns of these channels, or none.
fn patterns(names: &[ChannelName], rng: &mut Rng) -> Vec<Pattern> {
    let count = rng.usize(0..5);
    let pattern = |rng: &mut Rng| {
        let name = rng.choice(names).unwrap();
        let parent = name.as_str().rsplit_once('/').map(|(parent, _)| parent);
        match parent {
            Some(parent) if rng.bool() => Pattern::new(format!("{parent}/*")).unwrap(),
            _ => name.clone().into(),
        }
    };
    (0..count).map(|_| pattern(rng)).collect()
}
