//! What becomes of a hub over a log that is far away, or does not keep its promises.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::time::Duration;

use tidings_hub::{
    Appended, Bounds, ChannelName, Draft, Event, Hub, Log, LogFuture, MemoryLog, Page, Pattern,
    Retention, Tail,
};
use tidings_proto::{Decoder, Epoch, Gap, GapReason};
use tokio::time::{sleep, timeout};

/// What is odd about a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Oddity {
    /// What it says that it holds takes its time to come back.
    Far,
}

struct OddLog {
    inner: MemoryLog,
    oddity: Oddity,
}

impl OddLog {
    fn new(oddity: Oddity, retention: Retention) -> Self {
        Self {
            inner: MemoryLog::new(retention),
            oddity,
        }
    }
}

impl Log for OddLog {
    fn bounds(&self) -> LogFuture<'_, Bounds> {
        Box::pin(async move {
            let bounds = self.inner.bounds().await?;
            match self.oddity {
                Oddity::Far => sleep(Duration::from_millis(5)).await,
            }
            Ok(bounds)
        })
    }

    fn ends(&self) -> LogFuture<'_, Vec<(ChannelName, u64)>> {
        self.inner.ends()
    }

    fn append(&self, draft: Draft) -> LogFuture<'_, Appended> {
        self.inner.append(draft)
    }

    fn read<'a>(
        &'a self,
        after: u64,
        up_to: u64,
        patterns: &'a [Pattern],
        limit: usize,
    ) -> LogFuture<'a, Page> {
        self.inner.read(after, up_to, patterns, limit)
    }

    fn tail(&self, after: u64) -> Tail {
        self.inner.tail(after)
    }

    fn renew_epoch<'a>(&'a self, expected: &'a Epoch) -> LogFuture<'a, Epoch> {
        self.inner.renew_epoch(expected)
    }
}

fn event(text: &str) -> Event {
    Event::new(text)
}

/// Publishes to another channel, ten times as fast as the log answers.
fn keep_busy(hub: &Hub) -> tokio::task::JoinHandle<()> {
    let hub = hub.clone();
    tokio::spawn(async move {
        loop {
            hub.publish("else", event("x")).await.unwrap();
            sleep(Duration::from_micros(500)).await;
        }
    })
}

#[tokio::test(start_paused = true)]
async fn who_reads_a_far_log_is_not_cut_off_by_what_is_published_meanwhile() {
    const COUNT: usize = 2_000;
    let log = OddLog::new(Oddity::Far, Retention::in_memory());
    let hub = Hub::builder().tape_bytes(0).over(log);
    for _ in 0..COUNT {
        hub.publish("news", event("old")).await.unwrap();
    }
    let busy = keep_busy(&hub);
    let mut reader = hub.subscribe("news").earliest();
    let mut heard = 0;
    while heard < COUNT {
        let events = timeout(Duration::from_secs(5), reader.next()).await;
        heard += events.unwrap().unwrap().unwrap().count();
    }
    let mut slow = hub.subscribe("news").earliest().max_lag(10);
    let gap = timeout(Duration::from_secs(5), slow.next()).await;
    gap.unwrap().unwrap().unwrap();
    busy.abort();
}

#[tokio::test(start_paused = true)]
async fn who_reads_a_log_that_forgets_as_fast_is_told() {
    let log = OddLog::new(Oddity::Far, Retention::in_memory().max_events(15));
    let hub = Hub::builder().tape_bytes(0).over(log);
    for _ in 0..20 {
        hub.publish("else", event("old")).await.unwrap();
    }
    let busy = keep_busy(&hub);
    let mut reader = hub.subscribe("else").earliest();
    for _ in 0..20 {
        let events = timeout(Duration::from_secs(5), reader.next()).await;
        let events = events.unwrap().unwrap().unwrap();
        let first = Decoder::new().decode(events.bytes()).next();
        if let Some(gap) = Gap::from_event(&first.unwrap().unwrap()) {
            assert_eq!(gap.reason, GapReason::Slow);
        }
    }
    busy.abort();
}
