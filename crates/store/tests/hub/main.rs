//! Hubs over a store, end to end: what clients and publishers see when the store is closed, killed and opened
//! again.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod concurrency;
mod forgetting;
mod lifetimes;
mod restarts;

use std::future::poll_fn;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tidings_hub::{
    Event, EventId, Feed, FeedOpened, Gap, Hub, Position, Subscription, SubscriptionStream,
};
use tidings_store::{StoreLog, StoreOptions};
use tidings_testkit::temp_dir::TempDir;
use tidings_testkit::timeout::timeout;

const PATIENCE: Duration = Duration::from_secs(60);

/// A directory with a store that is opened again and again.
struct Home {
    options: StoreOptions,
    dir: TempDir,
}

impl Home {
    fn new() -> Self {
        Self::with(StoreLog::options())
    }

    fn with(options: StoreOptions) -> Self {
        let dir = TempDir::in_memory();
        Self { options, dir }
    }

    fn path(&self) -> PathBuf {
        self.dir.join("events.db")
    }

    fn open(&self) -> StoreLog {
        self.options.open(self.path()).unwrap()
    }

    /// The files as a kill of the process leaves them now.
    fn killed(&self) -> Self {
        let dir = TempDir::in_memory();
        let copy = Self {
            options: self.options,
            dir,
        };
        // The write-ahead log last: it still has what a checkpoint moves meanwhile.
        copy.dir
            .copy_from(&self.dir, &["events.db", "events.db-wal"]);
        copy
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("it takes too long")
}

async fn publish(hub: &Hub, channel: &str, text: &str) -> Position {
    within(hub.publish(channel, Event::new(text)))
        .await
        .unwrap()
}

async fn open(subscription: &mut Subscription) -> FeedOpened {
    within(poll_fn(|cx| subscription.poll_open(cx)))
        .await
        .unwrap()
}

/// A subscription to a channel, opened, after this position.
async fn resumed(hub: &Hub, channel: &str, position: &Position) -> SubscriptionStream {
    let stream = hub.subscribe(channel);
    stream.resume_after(Some(&EventId::from(position)))
}

/// The texts of the next events up to this one. A gap is its reason.
async fn texts(stream: &mut SubscriptionStream, last: &str) -> Vec<String> {
    let mut texts = Vec::new();
    while texts.last().is_none_or(|text| text != last) {
        let events = within(stream.next()).await.unwrap().unwrap();
        texts.extend(events.to_events().iter().map(|event| {
            let gap = Gap::from_event(event);
            gap.map_or_else(
                || event.text().to_owned(),
                |gap| format!("gap: {:?}", gap.reason),
            )
        }));
    }
    texts
}

/// Whether the store in this file can be opened now: nobody else has it open.
fn is_free(path: &Path) -> bool {
    StoreLog::open(path).is_ok()
}
