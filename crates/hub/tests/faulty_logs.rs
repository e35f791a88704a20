//! What becomes of a hub over a log that is far away, or does not keep its promises.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tidings_hub::{
    Appended, Bounds, ChannelName, Draft, EntryKind, Error, Event, Hub, Log, LogError, LogFuture,
    MemoryLog, Page, Pattern, Retention, Tail,
};
use tidings_proto::{Decoder, Epoch, Gap, GapReason};
use tokio::time::{sleep, timeout};

/// What is odd about a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Oddity {
    /// What it says that it holds takes its time to come back.
    Far,
    /// It does not know the check of what stood before its first entry.
    NoFloor,
    /// Its tail fails whenever it is asked for.
    NoTail,
    /// Its pages are empty and lead nowhere.
    NoPages,
    /// It says what it holds when a hub begins, and then never again.
    Mute,
}

struct OddLog {
    inner: MemoryLog,
    oddity: Oddity,
    /// How often it was asked for its bounds, and for its tail.
    bounds: AtomicUsize,
    tails: AtomicUsize,
}

impl OddLog {
    fn new(oddity: Oddity, retention: Retention) -> Self {
        Self {
            inner: MemoryLog::new(retention),
            oddity,
            bounds: AtomicUsize::new(0),
            tails: AtomicUsize::new(0),
        }
    }
}

impl Log for OddLog {
    fn bounds(&self) -> LogFuture<'_, Bounds> {
        let asked = self.bounds.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            let bounds = self.inner.bounds().await?;
            match self.oddity {
                Oddity::Far => sleep(Duration::from_millis(5)).await,
                // In the beginning: for its life, and for its tail.
                Oddity::Mute if asked > 1 => std::future::pending().await,
                Oddity::NoFloor => {
                    let (first, last) = (5, 4);
                    return Ok(Bounds {
                        first,
                        last,
                        ..bounds
                    });
                }
                _ => {}
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
        // All but the look at one entry.
        if self.oddity == Oddity::NoPages && !patterns.is_empty() {
            let (entries, through) = (Vec::new(), after);
            return Box::pin(async move { Ok(Page { entries, through }) });
        }
        self.inner.read(after, up_to, patterns, limit)
    }

    fn tail(&self, after: u64) -> Tail {
        self.tails.fetch_add(1, Ordering::SeqCst);
        if self.oddity == Oddity::NoTail {
            let lost = LogError::Lost(Arc::from(Box::from("no tail")));
            return stream::iter([Err(lost)]).boxed();
        }
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

#[tokio::test(start_paused = true)]
async fn a_log_that_does_not_know_itself_is_not_asked_for_ever() {
    let hub = Hub::over(OddLog::new(Oddity::NoFloor, Retention::in_memory()));
    let published = timeout(Duration::from_secs(60), hub.publish("a", event("x"))).await;
    assert!(matches!(published.unwrap(), Err(Error::Log(_))));
}

#[tokio::test(start_paused = true)]
async fn a_tail_that_always_fails_is_asked_for_less_and_less() {
    let log = Arc::new(OddLog::new(Oddity::NoTail, Retention::in_memory()));
    let hub = Hub::over(Arc::clone(&log));
    // It is kept, but never comes back; that is said before long.
    let published = timeout(Duration::from_secs(60), hub.publish("a", event("x"))).await;
    assert!(matches!(published.unwrap(), Err(Error::Unconfirmed)));
    sleep(Duration::from_secs(60)).await;
    let tails = log.tails.load(Ordering::SeqCst);
    assert!(tails < 50, "{tails}");
}

#[tokio::test(start_paused = true)]
async fn a_page_that_leads_nowhere_breaks_the_stream() {
    let log = OddLog::new(Oddity::NoPages, Retention::in_memory());
    let hub = Hub::builder().tape_bytes(0).over(log);
    for _ in 0..3 {
        hub.publish("a", event("x")).await.unwrap();
    }
    let mut reader = hub.subscribe("a").earliest();
    let next = timeout(Duration::from_secs(60), reader.next()).await;
    next.unwrap().unwrap().unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn a_log_that_cannot_be_asked_still_is_heard() {
    let hub = Hub::over(OddLog::new(Oddity::Mute, Retention::in_memory()));
    let mut reader = hub.subscribe("a").latest();
    tokio::task::yield_now().await;
    for _ in 0..10 {
        let published = timeout(Duration::from_secs(60), hub.publish("a", event("x"))).await;
        published.unwrap().unwrap();
        sleep(Duration::from_secs(20)).await;
    }
    drop(reader.next());
}

#[tokio::test]
async fn a_tail_with_much_to_tell_lets_others_run() {
    const COUNT: u64 = 200_000;
    let log = Arc::new(MemoryLog::default());
    let hub = std::thread::scope(|scope| {
        // Where there is no runtime, it waits for one.
        let hub = || Hub::over(Arc::clone(&log));
        scope.spawn(hub).join().unwrap()
    });
    let mut body = None;
    for _ in 0..COUNT {
        let body = body.get_or_insert_with(|| event("x").encode().bytes().clone());
        let draft = Draft {
            channel: ChannelName::new("a").unwrap(),
            kind: EntryKind::Event,
            body: body.clone(),
            key: None,
        };
        log.append(draft).await.unwrap();
    }
    let turns = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&turns);
    let counter = tokio::spawn(async move {
        loop {
            counted.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
        }
    });
    let position = hub.publish("b", event("x")).await.unwrap();
    assert_eq!(position.seq, COUNT + 1);
    let turns = turns.load(Ordering::SeqCst);
    assert!(turns > 100, "{turns}");
    counter.abort();
}
