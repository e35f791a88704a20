//! A hub over a log that is slow, forgets, fails, or breaks its guarantees.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use futures_util::{StreamExt, stream};
use tidings_hub::{
    Bounds, ChannelName, Draft, Event, EventId, Gap, GapReason, Hub, Located, Log, LogError,
    LogErrorKind, LogFuture, MemoryLog, Page, Position, PublishErrorKind, Retention, Scope, Start,
    StoredChannel, SubscribeErrorKind, Tail,
};
use tidings_testkit::interpose::{Interpose, Interposed};
use tidings_testkit::timeout::timeout;
use tokio::time::sleep;

/// The fault of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Its bounds, its places and its pages take 5 ms, and are as old as that.
    Slow,
    /// Its bounds name a newest entry that it does not hold.
    WrongBounds,
    /// It finds no place for a start that is none itself.
    NoPlace,
    /// It finds a place after its newest entry for a start that is no place itself.
    PlaceBeyond,
    /// Its tail always fails.
    NoTail,
    /// Its pages are empty and cover no place.
    NoPages,
    /// Its pages have the entries of all channels.
    AllPages,
    /// Its pages begin with the oldest entry.
    OldPages,
    /// Its pages end before their last entry.
    ShortPages,
    /// Its place after a skip is the one before the skip.
    OldPlace,
    /// Its oldest entry is after its newest one.
    NoBounds,
    /// Its tail returns empty batches without a pause.
    EmptyBatches,
    /// It returns its channels in the wrong order.
    Backwards,
    /// It returns its bounds when a hub starts, and then never again.
    Silent,
}

struct FaultyLog {
    inner: MemoryLog,
    fault: Fault,
    /// How often its bounds and its tail were requested.
    bounds: AtomicUsize,
    tails: AtomicUsize,
    /// How often a page was read.
    pages: AtomicUsize,
}

impl FaultyLog {
    fn new(fault: Fault, retention: Retention) -> Interposed<Self> {
        Interposed(Self {
            inner: MemoryLog::new(retention),
            fault,
            bounds: AtomicUsize::new(0),
            tails: AtomicUsize::new(0),
            pages: AtomicUsize::new(0),
        })
    }

    async fn pause(&self) {
        if self.fault == Fault::Slow {
            sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Interpose for FaultyLog {
    fn inner(&self) -> &dyn Log {
        &self.inner
    }

    fn bounds(&self) -> LogFuture<'_, Bounds> {
        let requests = self.bounds.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            let mut bounds = self.inner.bounds().await?;
            match self.fault {
                // The first two requests are for the life of the log, and for its tail.
                Fault::Silent if requests > 1 => std::future::pending().await,
                Fault::WrongBounds => bounds.last.seq += 4,
                Fault::NoBounds => bounds.floor.seq = bounds.last.seq + 1,
                _ => self.pause().await,
            }
            Ok(bounds)
        })
    }

    fn locate<'a>(&'a self, start: Start, scope: Scope<'a>) -> LogFuture<'a, Located> {
        Box::pin(async move {
            let mut located = self.inner.locate(start, scope).await?;
            match (self.fault, &mut located) {
                _ if matches!(start, Start::After(_)) => self.pause().await,
                (Fault::NoPlace, _) => located = Located::Unknown { last: 0 },
                (Fault::PlaceBeyond, Located::Held { place, .. }) => place.seq += 100,
                (Fault::OldPlace, Located::Held { place, .. }) => {
                    if let Start::Skip { after, .. } = start {
                        place.seq = after;
                    }
                }
                _ => self.pause().await,
            }
            Ok(located)
        })
    }

    fn read<'a>(&'a self, after: u64, limit: usize, scope: Scope<'a>) -> LogFuture<'a, Page> {
        Box::pin(async move {
            let pages = self.pages.fetch_add(1, Ordering::SeqCst);
            let page = match self.fault {
                // A hub that reads it for ever leaves the paused clock no time to move.
                Fault::NoPages if pages > 100 => return Err(LogError::lost("too many reads")),
                Fault::NoPages => Page::new(Vec::new(), after),
                Fault::AllPages => {
                    let scope = Scope::all(scope.newest);
                    self.inner.read(after, usize::MAX, scope).await?
                }
                Fault::OldPages => self.inner.read(0, usize::MAX, scope).await?,
                Fault::ShortPages => {
                    let mut page = self.inner.read(after, limit, scope).await?;
                    page.through = after + 1;
                    page
                }
                _ => self.inner.read(after, limit, scope).await?,
            };
            self.pause().await;
            Ok(page)
        })
    }

    fn tail(&self, after: &Position) -> Tail {
        self.tails.fetch_add(1, Ordering::SeqCst);
        match self.fault {
            Fault::NoTail => stream::iter([Err(LogError::lost("no tail"))]).boxed(),
            Fault::EmptyBatches => stream::repeat_with(|| Ok(Vec::new())).boxed(),
            _ => self.inner.tail(after),
        }
    }

    fn channels<'a>(
        &'a self,
        after: Option<&'a ChannelName>,
        limit: usize,
    ) -> LogFuture<'a, Vec<StoredChannel>> {
        Box::pin(async move {
            let mut channels = self.inner.channels(after, limit).await?;
            if self.fault == Fault::Backwards {
                channels.reverse();
            }
            Ok(channels)
        })
    }
}

fn event(text: &str) -> Event {
    Event::new(text)
}

/// Publishes to another channel, ten times as fast as the log returns its bounds.
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
async fn a_replay_from_a_slow_log_completes_while_others_publish() {
    const COUNT: usize = 2_000;
    let log = FaultyLog::new(Fault::Slow, Retention::in_memory());
    let hub = Hub::builder().tape_bytes(0).over(log);
    for _ in 0..COUNT {
        hub.publish("news", event("old")).await.unwrap();
    }
    let busy = keep_busy(&hub);
    let mut reader = hub.subscribe("news").earliest().resume_after(None);
    let mut received = 0;
    while received < COUNT {
        let events = timeout(Duration::from_secs(5), reader.next()).await;
        received += events.unwrap().unwrap().unwrap().count();
    }
    let slow = hub.subscribe("news").earliest().max_lag(10);
    let mut slow = slow.resume_after(None);
    let gap = timeout(Duration::from_secs(5), slow.next()).await;
    gap.unwrap().unwrap().unwrap();
    busy.abort();
}

#[tokio::test(start_paused = true)]
async fn a_replay_from_a_log_that_removes_entries_meanwhile_gets_gaps() {
    let log = FaultyLog::new(Fault::Slow, Retention::in_memory().max_events(Some(15)));
    let hub = Hub::builder().tape_bytes(0).over(log);
    for _ in 0..20 {
        hub.publish("else", event("old")).await.unwrap();
    }
    let busy = keep_busy(&hub);
    let mut reader = hub.subscribe("else").earliest().resume_after(None);
    let mut gaps = Vec::new();
    for _ in 0..20 {
        let events = timeout(Duration::from_secs(5), reader.next()).await;
        let events = events.unwrap().unwrap().unwrap().to_events();
        gaps.extend(Gap::from_event(&events[0]).map(|gap| gap.reason));
    }
    // It begins with the oldest event that is left.
    assert_eq!(gaps.remove(0), GapReason::Trimmed);
    assert!(gaps.iter().all(|reason| *reason == GapReason::Slow));
    busy.abort();
}

#[tokio::test(start_paused = true)]
async fn a_log_with_wrong_bounds_fails_publishers_within_a_minute() {
    let hub = Hub::over(FaultyLog::new(Fault::WrongBounds, Retention::in_memory()));
    let published = timeout(Duration::from_secs(60), hub.publish("a", event("x"))).await;
    let error = published.unwrap().unwrap_err();
    assert_eq!(error.kind(), PublishErrorKind::Unconfirmed);
}

#[tokio::test(start_paused = true)]
async fn a_tail_that_always_fails_is_retried_with_growing_delays() {
    let log = Arc::new(FaultyLog::new(Fault::NoTail, Retention::in_memory()));
    let hub = Hub::over(Arc::clone(&log));
    // The log stores the event but never returns it, so the publisher gets an error after a while.
    let published = timeout(Duration::from_secs(60), hub.publish("a", event("x"))).await;
    let error = published.unwrap().unwrap_err();
    assert_eq!(error.kind(), PublishErrorKind::Unconfirmed);
    sleep(Duration::from_secs(60)).await;
    let tails = log.tails.load(Ordering::SeqCst);
    assert!(tails < 50, "{tails}");
}

#[tokio::test(start_paused = true)]
async fn a_page_without_progress_breaks_the_stream() {
    let log = Arc::new(FaultyLog::new(Fault::NoPages, Retention::in_memory()));
    let hub = Hub::builder().tape_bytes(0).over(Arc::clone(&log));
    for _ in 0..3 {
        hub.publish("a", event("x")).await.unwrap();
    }
    let mut reader = hub.subscribe("a").earliest().resume_after(None);
    let next = timeout(Duration::from_secs(60), reader.next()).await;
    let error = next.unwrap().unwrap().unwrap_err();
    assert_eq!(error.kind(), SubscribeErrorKind::Log);
    let pages = log.pages.load(Ordering::SeqCst);
    assert!(pages < 10, "{pages}");
}

#[tokio::test(start_paused = true)]
async fn a_log_that_finds_no_place_or_one_after_its_newest_entry_breaks_the_stream() {
    for fault in [Fault::NoPlace, Fault::PlaceBeyond] {
        let retention = Retention::in_memory().max_events(Some(3));
        let hub = Hub::over(FaultyLog::new(fault, retention));
        for _ in 0..5 {
            hub.publish("a", event("x")).await.unwrap();
        }
        for subscription in [
            hub.subscribe("a").earliest(),
            hub.subscribe("a").last(2),
            hub.subscribe("a").from_time(SystemTime::UNIX_EPOCH),
        ] {
            let mut reader = subscription.resume_after(None);
            let next = timeout(Duration::from_secs(60), reader.next()).await;
            let error = next.unwrap().unwrap().unwrap_err();
            assert_eq!(error.kind(), SubscribeErrorKind::Log, "{fault:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_with_entries_outside_of_its_range_breaks_the_stream() {
    for fault in [Fault::OldPages, Fault::ShortPages] {
        let log = FaultyLog::new(fault, Retention::in_memory());
        let hub = Hub::builder().tape_bytes(0).over(log);
        let first = hub.publish("a", event("1")).await.unwrap();
        for text in ["2", "3", "4"] {
            hub.publish("a", event(text)).await.unwrap();
        }
        let mut reader = hub
            .subscribe("a")
            .resume_after(Some(&EventId::from(&first)));
        let next = timeout(Duration::from_secs(60), reader.next()).await;
        let error = next.unwrap().unwrap().unwrap_err();
        assert_eq!(error.kind(), SubscribeErrorKind::Log, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_place_that_was_passed_before_breaks_the_stream() {
    let retention = Retention::in_memory().max_events(Some(3));
    let log = FaultyLog::new(Fault::OldPlace, retention);
    let hub = Hub::builder().tape_bytes(0).over(log);
    let first = hub.publish("a", event("1")).await.unwrap();
    for _ in 0..5 {
        hub.publish("a", event("x")).await.unwrap();
    }
    let id = EventId::from(&first);
    let mut reader = hub.subscribe("a").resume_after(Some(&id));
    let gap = reader.next().await.unwrap().unwrap().to_events();
    assert!(Gap::from_event(&gap[0]).is_some());
    let next = timeout(Duration::from_secs(60), reader.next()).await;
    let error = next.unwrap().unwrap().unwrap_err();
    assert_eq!(error.kind(), SubscribeErrorKind::Log);
}

#[tokio::test(start_paused = true)]
async fn a_log_with_bounds_that_no_log_can_have_is_an_error() {
    let hub = Hub::over(FaultyLog::new(Fault::NoBounds, Retention::in_memory()));
    let mut reader = hub.subscribe("a").resume_after(None);
    let next = timeout(Duration::from_secs(60), reader.next()).await;
    let error = next.unwrap().unwrap().unwrap_err();
    assert_eq!(error.kind(), SubscribeErrorKind::Log);
}

#[tokio::test(start_paused = true)]
async fn a_tail_of_empty_batches_is_replaced() {
    let hub = Hub::over(FaultyLog::new(Fault::EmptyBatches, Retention::in_memory()));
    let published = timeout(Duration::from_secs(60), hub.publish("a", event("x"))).await;
    let error = published.unwrap().unwrap_err();
    assert_eq!(error.kind(), PublishErrorKind::Unconfirmed);
}

#[tokio::test]
async fn channels_in_the_wrong_order_are_an_error() {
    let hub = Hub::over(FaultyLog::new(Fault::Backwards, Retention::in_memory()));
    for channel in ["a", "b"] {
        hub.publish(channel, event("x")).await.unwrap();
    }
    let error = hub.channels(None, 9).await.unwrap_err();
    assert_eq!(error.kind(), LogErrorKind::Lost);
}

#[tokio::test(start_paused = true)]
async fn entries_that_were_not_asked_for_reach_no_subscriber() {
    let hub = Hub::builder()
        .tape_bytes(0)
        .over(FaultyLog::new(Fault::AllPages, Retention::in_memory()));
    let first = hub.publish("a", event("1")).await.unwrap();
    hub.publish("secret", event("s")).await.unwrap();
    hub.publish("a", event("2")).await.unwrap();
    let mut reader = hub
        .subscribe("a")
        .resume_after(Some(&EventId::from(&first)));
    let next = timeout(Duration::from_secs(60), reader.next()).await;
    let events = next.unwrap().unwrap().unwrap().to_events();
    let texts: Vec<_> = events.iter().map(Event::text).collect();
    assert_eq!(texts, ["2"]);
}

#[tokio::test(start_paused = true)]
async fn a_subscription_made_before_the_log_was_reached_is_told_of_a_loss() {
    let log = Arc::new(FaultyLog::new(Fault::Slow, Retention::in_memory()));
    let hub = Hub::over(Arc::clone(&log));
    let early = hub.subscribe("a");
    let late = hub.subscribe("a");
    hub.publish("a", event("1")).await.unwrap();
    let received = early.resume_after(None).next().await.unwrap().unwrap();
    assert_eq!(received.to_events()[0].text(), "1");
    let epoch = log.inner.bounds().await.unwrap().epoch;
    log.inner.renew_epoch(&epoch).await.unwrap();
    // The hub notices.
    sleep(Duration::from_secs(20)).await;
    hub.publish("a", event("2")).await.unwrap();
    let received = late.resume_after(None).next().await.unwrap().unwrap();
    let gap = Gap::from_event(&received.to_events()[0]);
    assert_eq!(gap.map(|gap| gap.reason), Some(GapReason::Epoch));
}

#[tokio::test(start_paused = true)]
async fn a_log_without_bounds_still_confirms_publications() {
    let hub = Hub::over(FaultyLog::new(Fault::Silent, Retention::in_memory()));
    tokio::task::yield_now().await;
    for _ in 0..10 {
        let published = timeout(Duration::from_secs(60), hub.publish("a", event("x"))).await;
        published.unwrap().unwrap();
        sleep(Duration::from_secs(20)).await;
    }
}

#[tokio::test]
async fn a_long_tail_lets_other_tasks_run() {
    const COUNT: u64 = 200_000;
    let log = Arc::new(MemoryLog::default());
    let hub = std::thread::scope(|scope| {
        // Made without a runtime, the hub starts at its first use.
        let hub = || Hub::over(Arc::clone(&log));
        scope.spawn(hub).join().unwrap()
    });
    let mut body = None;
    for _ in 0..COUNT {
        let body = body.get_or_insert_with(|| event("x").encode().bytes().clone());
        let draft = Draft::event(ChannelName::new("a").unwrap(), body.clone());
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
