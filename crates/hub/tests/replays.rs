//! Reads of the log for subscribers: how much one poll does, and how many work at once.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use tidings_hub::{
    ChannelName, Draft, Event, Feed, FeedOpened, Gap, GapReason, Hub, Located, Log, LogFuture,
    MemoryLog, Page, Position, Scope, SlowReader, Start, Subscription,
};
use tidings_testkit::interpose::{Interpose, Interposed};
use tidings_testkit::timeout::timeout;
use tokio::sync::Notify;
use tokio::task::yield_now;

/// One poll of a subscription reads at most this many pages.
const PAGES_PER_POLL: usize = 1;
/// A hub reads at most this many pages at once.
const PAGES_AT_ONCE: usize = 32;

/// The number of entries that a page of a log with short pages covers.
const SHORT_PAGE: u64 = 100;

/// A log in memory that counts its pages, and returns none while it is held.
#[derive(Default)]
struct CountingLog {
    inner: MemoryLog,
    is_held: AtomicBool,
    /// Whether its pages cover at most `SHORT_PAGE` entries of all channels.
    is_short: AtomicBool,
    released: Notify,
    pages: AtomicUsize,
    /// How often it was asked for a place.
    places: AtomicUsize,
    at_work: AtomicUsize,
    most_at_work: AtomicUsize,
}

/// Counts a page that is at work until it is dropped.
struct AtWork<'a>(&'a AtomicUsize);

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl CountingLog {
    fn shared() -> Arc<Interposed<Self>> {
        Arc::new(Interposed(Self::default()))
    }

    fn hold(&self, is_held: bool) {
        self.is_held.store(is_held, Ordering::SeqCst);
        self.released.notify_waiters();
    }

    async fn wait(&self) {
        loop {
            let released = self.released.notified();
            if !self.is_held.load(Ordering::SeqCst) {
                return;
            }
            released.await;
        }
    }

    /// Appends entries of a channel without a hub.
    async fn append_many(&self, channel: &str, count: usize) {
        let channel = ChannelName::new(channel).unwrap();
        for _ in 0..count {
            let draft = Draft::event(channel.clone(), "data: x\n\n");
            self.inner.append(draft).await.unwrap();
        }
    }
}

impl Interpose for CountingLog {
    fn inner(&self) -> &dyn Log {
        &self.inner
    }

    fn locate<'a>(&'a self, start: Start, scope: Scope<'a>) -> LogFuture<'a, Located> {
        self.places.fetch_add(1, Ordering::SeqCst);
        self.inner.locate(start, scope)
    }

    fn read<'a>(&'a self, after: u64, limit: usize, scope: Scope<'a>) -> LogFuture<'a, Page> {
        Box::pin(async move {
            self.pages.fetch_add(1, Ordering::SeqCst);
            let at_work = 1 + self.at_work.fetch_add(1, Ordering::SeqCst);
            let _at_work = AtWork(&self.at_work);
            self.most_at_work.fetch_max(at_work, Ordering::SeqCst);
            self.wait().await;
            let mut page = self.inner.read(after, limit, scope).await?;
            if self.is_short.load(Ordering::SeqCst) {
                page.through = page.through.min(after + SHORT_PAGE);
                page.entries.retain(|entry| entry.seq <= page.through);
            }
            Ok(page)
        })
    }
}

/// A hub over this log that keeps no tapes.
async fn hub(log: &Arc<Interposed<CountingLog>>) -> Hub {
    let hub = Hub::builder().tape_bytes(0).over(Arc::clone(log));
    hub.publish("last", Event::new("x")).await.unwrap();
    hub
}

/// Polls by hand until the result, and checks the pages of each poll. Returns the number of all pages.
async fn polls<T>(
    log: &CountingLog,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> (T, usize) {
    let mut cx = Context::from_waker(Waker::noop());
    let begin = log.pages.load(Ordering::SeqCst);
    loop {
        let before = log.pages.load(Ordering::SeqCst);
        let polled = poll(&mut cx);
        let pages = log.pages.load(Ordering::SeqCst) - before;
        assert!(pages <= PAGES_PER_POLL, "{pages} pages in one poll");
        if let Poll::Ready(polled) = polled {
            return (polled, before + pages - begin);
        }
        yield_now().await;
    }
}

async fn first_position(hub: &Hub, channel: &str) -> Position {
    hub.publish(channel, Event::new("first")).await.unwrap()
}

fn resumed(mut subscription: Subscription, id: &Position) -> Subscription {
    subscription.resume(Some(&id.to_string()));
    subscription
}

#[tokio::test]
async fn a_poll_of_a_long_replay_reads_one_page() {
    let log = CountingLog::shared();
    let hub = hub(&log).await;
    log.is_short.store(true, Ordering::SeqCst);
    let first = first_position(&hub, "news").await;
    // Pages without an event come first.
    log.append_many("busy", 1_000).await;
    log.append_many("news", 1_000).await;
    hub.publish("last", Event::new("x")).await.unwrap();
    let mut subscription = resumed(hub.subscribe("news"), &first);
    let (mut received, mut read) = (0, 0);
    while received < 1_000 {
        let (events, pages) = polls(&log, |cx| subscription.poll_events(cx)).await;
        received += events.unwrap().unwrap().count();
        read += pages;
    }
    assert_eq!(read, 20);
}

#[tokio::test]
async fn a_replay_of_a_quiet_channel_reads_one_page_however_busy_the_others_are() {
    let log = CountingLog::shared();
    let hub = hub(&log).await;
    let first = first_position(&hub, "quiet").await;
    log.append_many("busy", 100_000).await;
    hub.publish("quiet", Event::new("second")).await.unwrap();
    let mut subscription = resumed(hub.subscribe("quiet"), &first);
    let (events, pages) = polls(&log, |cx| subscription.poll_events(cx)).await;
    let events = events.unwrap().unwrap().to_events();
    assert_eq!(events[0].text(), "second");
    assert_eq!(pages, 1);
}

/// The questions about entries that a subscription asks until it has received three events: how often it
/// looks for a place, and how many pages it reads.
async fn questions(
    entries: usize,
    channels: usize,
    subscribe: impl Fn(&Hub, &Position) -> Subscription,
) -> (usize, usize) {
    let log = CountingLog::shared();
    let hub = hub(&log).await;
    let first = first_position(&hub, "news").await;
    for n in 0..entries {
        log.append_many(&format!("others/{}", n % channels), 1)
            .await;
        if n % (entries / 3) == 0 {
            log.append_many("news", 1).await;
        }
    }
    hub.publish("last", Event::new("x")).await.unwrap();
    log.inner.trim(first.seq);
    let count = |counter: &AtomicUsize| counter.load(Ordering::SeqCst);
    let before = (count(&log.places), count(&log.pages));
    let mut subscription = subscribe(&hub, &first);
    let mut received = 0;
    while received < 3 {
        let events = poll_fn(|cx| subscription.poll_events(cx)).await;
        received += events.unwrap().unwrap().count();
    }
    (count(&log.places) - before.0, count(&log.pages) - before.1)
}

#[tokio::test]
async fn a_subscriber_of_one_channel_asks_for_one_place_and_one_page_however_long_the_log_is() {
    for (entries, channels) in [(1_000, 1), (30_000, 1), (30_000, 3_000)] {
        let asked = questions(entries, channels, |hub, first| {
            resumed(hub.subscribe("news"), first)
        });
        assert_eq!(asked.await, (1, 1), "{entries} entries");
        for start in [
            Subscription::earliest,
            |news: Subscription| news.last(3),
            |news: Subscription| news.from_time(SystemTime::UNIX_EPOCH),
        ] {
            let asked = questions(entries, channels, |hub, _| start(hub.subscribe("news")));
            assert_eq!(asked.await, (1, 1), "{entries} entries");
        }
        let asked = questions(entries, channels, |hub, first| {
            resumed(hub.subscribe_all(["other", "news", "none/*"]), first)
        });
        assert_eq!(asked.await, (1, 1), "{entries} entries");
    }
}

#[tokio::test]
async fn a_poll_that_finds_out_whether_channels_are_over_reads_one_page() {
    let log = CountingLog::shared();
    let hub = hub(&log).await;
    let names: Vec<_> = (0..64).map(|n| format!("answers/{n}")).collect();
    let first = first_position(&hub, &names[0]).await;
    log.append_many("busy", 100_000).await;
    for name in &names {
        hub.channel(name).unwrap().end().await.unwrap();
    }
    let mut subscription = resumed(hub.subscribe_all(&names), &first);
    let (opened, pages) = polls(&log, |cx| subscription.poll_open(cx)).await;
    assert_eq!(opened.unwrap(), FeedOpened::Over);
    // 16 ends a page.
    assert_eq!(pages, 4);
}

#[tokio::test]
async fn a_poll_that_drops_replaced_events_reads_one_page() {
    let log = CountingLog::shared();
    let hub = hub(&log).await;
    let first = first_position(&hub, "prices").await;
    log.append_many("busy", 100_000).await;
    log.append_many("prices", 2_000).await;
    hub.publish("last", Event::new("x")).await.unwrap();
    let latest = SlowReader::latest_by(|_| Some("key".into()));
    let prices = hub.subscribe("prices").max_lag(10).slow_reader(latest);
    let mut subscription = resumed(prices, &first);
    let mut received = Vec::new();
    while received.len() < 2 {
        let (events, _) = polls(&log, |cx| subscription.poll_events(cx)).await;
        received.extend(events.unwrap().unwrap().to_events());
    }
    assert_eq!(Gap::from_event(&received[0]).unwrap().missed, Some(1_999));
    assert_eq!(received[1].text(), "x");
}

#[tokio::test(start_paused = true)]
async fn kept_events_that_the_log_removes_before_their_delivery_are_reported() {
    let log = CountingLog::shared();
    let hub = Hub::builder().tape_bytes(0).over(Arc::clone(&log));
    for n in 1..=600 {
        hub.publish("prices", Event::new(n.to_string()))
            .await
            .unwrap();
    }
    let latest = SlowReader::latest_by(|event| Some(event.text().into()));
    let prices = hub.subscribe("prices").earliest().max_lag(10);
    let mut prices = prices.slow_reader(latest).resume_after(None);
    let mut next = async || prices.next().await.unwrap().unwrap().to_events();
    assert_eq!(next().await.len(), 256);
    log.inner.trim(500);
    let gap = Gap::from_event(&next().await[0]).unwrap();
    assert_eq!((gap.reason, gap.missed), (GapReason::Slow, Some(499 - 256)));
    assert!(gap.resumed.contains(".499."), "{gap:?}");
    let rest = next().await;
    assert_eq!(
        (rest.len(), rest[0].text(), rest[100].text()),
        (101, "500", "600")
    );
}

#[tokio::test(start_paused = true)]
async fn a_hub_reads_a_limited_number_of_pages_at_once_in_the_order_of_its_subscribers() {
    const SUBSCRIBERS: usize = 100;
    let log = CountingLog::shared();
    let hub = hub(&log).await;
    let first = first_position(&hub, "news").await;
    hub.publish("news", Event::new("second")).await.unwrap();
    log.hold(true);
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for n in 0..SUBSCRIBERS {
        let mut news = resumed(hub.subscribe("news"), &first);
        let order = Arc::clone(&order);
        tasks.push(tokio::spawn(async move {
            let events = poll_fn(|cx| news.poll_events(cx)).await;
            assert_eq!(events.unwrap().unwrap().to_events()[0].text(), "second");
            order.lock().unwrap().push(n);
        }));
    }
    let rest = async || {
        for _ in 0..20 {
            yield_now().await;
        }
    };
    rest().await;
    assert_eq!(log.at_work.load(Ordering::SeqCst), PAGES_AT_ONCE);
    // A subscriber that is dropped frees its turn.
    tasks.drain(..10).for_each(|task| task.abort());
    rest().await;
    assert_eq!(log.pages.load(Ordering::SeqCst), PAGES_AT_ONCE + 10);
    assert_eq!(log.at_work.load(Ordering::SeqCst), PAGES_AT_ONCE);
    // A drain does not wait for them.
    assert!(hub.drain().now_or_never().is_some());
    log.hold(false);
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(log.most_at_work.load(Ordering::SeqCst), PAGES_AT_ONCE);
    // The runtime may reorder the subscribers that have a turn at the same time.
    for (at, n) in order.lock().unwrap().iter().enumerate() {
        assert!(n.abs_diff(at + 10) < PAGES_AT_ONCE, "{n} is number {at}");
    }
}

/// A replay that is not read does not keep its turn.
#[tokio::test(start_paused = true)]
async fn a_subscriber_that_does_not_read_holds_no_turn() {
    let log = CountingLog::shared();
    let hub = hub(&log).await;
    let first = first_position(&hub, "news").await;
    log.append_many("news", 2_000).await;
    hub.publish("last", Event::new("x")).await.unwrap();
    let mut stalled = Vec::new();
    for _ in 0..2 * PAGES_AT_ONCE {
        let mut news = resumed(hub.subscribe("news"), &first);
        // One page of several.
        let (events, pages) = polls(&log, |cx| news.poll_events(cx)).await;
        assert_eq!((events.unwrap().unwrap().count(), pages), (256, 1));
        stalled.push(news);
    }
}

/// One that is polled no more, such as one whose client does not read, may have a turn.
#[tokio::test(start_paused = true)]
async fn subscribers_that_are_not_polled_delay_others_by_a_second_at_most() {
    let log = CountingLog::shared();
    let hub = hub(&log).await;
    let first = first_position(&hub, "news").await;
    hub.publish("news", Event::new("second")).await.unwrap();
    let mut stuck = Vec::new();
    for _ in 0..3 * PAGES_AT_ONCE {
        let mut news = resumed(hub.subscribe("news"), &first);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(news.poll_events(&mut cx).is_pending());
        stuck.push(news);
    }
    let mut news = resumed(hub.subscribe("news"), &first);
    let events = timeout(
        Duration::from_millis(1_001),
        poll_fn(|cx| news.poll_events(cx)),
    );
    let events = events.await.unwrap().unwrap().unwrap();
    assert_eq!(events.to_events()[0].text(), "second");
}
