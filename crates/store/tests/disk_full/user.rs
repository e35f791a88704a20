//! `User`: a hub over a store, and everything that it has promised to its user.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::time::Duration;

use tidings_hub::{Event, Hub, Log, LogError, LogErrorKind, PublishError, Scope};
use tidings_proto::{Epoch, Position};
use tidings_store::{StoreError, StoreLog, StoreOptions};
use tidings_testkit::timeout::timeout;

pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// What happened to an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    Stored(Position),
    /// It was not stored.
    Refused,
    /// It may be stored or not.
    Unknown,
}

pub(crate) struct User {
    pub(crate) log: StoreLog,
    pub(crate) hub: Hub,
    pub(crate) epoch: Epoch,
    pub(crate) fates: BTreeMap<u64, Fate>,
    next: u64,
}

impl User {
    pub(crate) async fn open(options: StoreOptions, path: &Path) -> Result<Self, StoreError> {
        let log = options.open(path)?;
        let epoch = log.bounds().await.unwrap().epoch;
        let hub = Hub::builder()
            .log_timeout(Duration::from_secs(5))
            .over(log.clone());
        Ok(Self {
            log,
            hub,
            epoch,
            fates: BTreeMap::new(),
            next: 0,
        })
    }

    /// Publishes the next event.
    pub(crate) async fn publish(&mut self) -> Result<Position, PublishError> {
        let n = self.next;
        self.next += 1;
        let published = self.publish_again(n).await;
        let fate = match &published {
            Ok(position) => Fate::Stored(position.clone()),
            Err(error) if is_refused(error) => Fate::Refused,
            Err(_) => Fate::Unknown,
        };
        self.fates.insert(n, fate);
        published
    }

    /// Publishes an event a first or second time.
    pub(crate) async fn publish_again(&self, n: u64) -> Result<Position, PublishError> {
        let publish = self
            .hub
            .publish(channel(n), Event::new(text(n)))
            .key(format!("{n}"));
        timeout(LIMIT, publish).await.unwrap()
    }

    /// Publishes until it fails, and returns the error.
    pub(crate) async fn publish_until_it_fails(&mut self) -> PublishError {
        for _ in 0..1_000 {
            if let Err(error) = self.publish().await {
                return error;
            }
        }
        panic!("no event was refused");
    }

    /// Every event that was acknowledged, as a subscriber receives them.
    pub(crate) async fn expect_all(&self) {
        let mut events = self
            .hub
            .subscribe_all(["news/*"])
            .earliest()
            .events_after(None);
        for (n, position) in self.stored().into_values() {
            let next = timeout(LIMIT, events.next())
                .await
                .unwrap()
                .unwrap()
                .unwrap();
            assert_eq!(next.event.text(), text(n));
            assert_eq!(next.event.id, Some(position.into()));
        }
    }

    /// The events that were stored, by the numbers of their entries.
    fn stored(&self) -> BTreeMap<u64, (u64, &Position)> {
        let mut stored = BTreeMap::new();
        for (n, fate) in &self.fates {
            if let Fate::Stored(position) = fate {
                assert_eq!(stored.insert(position.seq, (*n, position)), None);
            }
        }
        stored
    }

    /// Publishes every event again whose fate is not known.
    pub(crate) async fn resolve(&mut self) {
        let unknown = self
            .fates
            .iter()
            .filter(|(_, fate)| **fate == Fate::Unknown);
        for n in unknown.map(|(n, _)| *n).collect::<Vec<_>>() {
            let position = self.publish_again(n).await.unwrap();
            self.fates.insert(n, Fate::Stored(position));
        }
    }

    /// Publishes the next event on a disk that works. If the disk has stopped the store before, opens it
    /// again.
    pub(crate) async fn go_on(&mut self, options: StoreOptions) {
        let published = self.publish().await;
        if self.log.bounds().await.is_ok() {
            published.unwrap();
            return;
        }
        let path = self.log.path().to_owned();
        timeout(LIMIT, self.log.close()).await.unwrap().unwrap_err();
        let opened = Self::open(options, &path).await.unwrap();
        assert_eq!(opened.epoch, self.epoch);
        (self.log, self.hub) = (opened.log, opened.hub);
        self.publish().await.unwrap();
    }

    /// Closes the store and opens it again.
    pub(crate) async fn reopen(&mut self, options: StoreOptions) {
        let path = self.log.path().to_owned();
        timeout(LIMIT, self.log.close()).await.unwrap().unwrap();
        let opened = Self::open(options, &path).await.unwrap();
        assert_eq!(opened.epoch, self.epoch);
        (self.log, self.hub) = (opened.log, opened.hub);
    }

    /// The log holds what it has promised: every stored event after its floor, each once, and no other.
    pub(crate) async fn verify(&self) {
        let bounds = self.log.bounds().await.unwrap();
        assert_eq!(bounds.epoch, self.epoch);
        assert!(self.fates.values().all(|fate| *fate != Fate::Unknown));
        let expected = self.stored();
        let all: Vec<_> = expected.keys().copied().collect();
        assert_eq!(all, (1..=bounds.last.seq).collect::<Vec<_>>());
        let newest = bounds.newest();
        let mut after = bounds.floor.seq;
        while after < bounds.last.seq {
            let page = self
                .log
                .read(after, 100, Scope::all(&newest))
                .await
                .unwrap();
            for entry in page.entries {
                after += 1;
                assert_eq!(entry.seq, after);
                let (n, position) = expected[&after];
                assert_eq!(entry.check(), position.check);
                assert_eq!(entry.body, format!("data: {}\n\n", text(n)));
            }
        }
        let checked = self.log.check().unwrap();
        assert!(checked.is_sound(), "{checked}");
    }
}

fn channel(n: u64) -> String {
    format!("news/{}", n % 5)
}

fn text(n: u64) -> String {
    format!("{n} {}", "x".repeat(usize::try_from(n % 7 * 300).unwrap()))
}

/// Whether an event was surely not stored.
pub(crate) fn is_refused(error: &PublishError) -> bool {
    let log = error
        .source()
        .and_then(|source| source.downcast_ref::<LogError>());
    log.is_some_and(|log| log.kind() == LogErrorKind::Refused)
}
