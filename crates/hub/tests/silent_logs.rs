//! A hub over a log that loses an answer, stops answering, or panics.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use tidings_hub::{
    Appended, Bounds, ChannelName, ChannelStatus, Draft, Entry, Epoch, Event, EventId, Hub,
    Located, Log, LogError, LogFuture, MemoryLog, Page, Position, PublishErrorKind, Retention,
    Scope, Start, StoredChannel, SubscribeErrorKind, SubscriptionStream, Tail,
};
use tidings_testkit::interpose::{Interpose, Interposed};
use tidings_testkit::timeout::timeout;
use tokio::time::{Instant, sleep};

/// The fault of the log, and the call with which it begins. Each call counts, and each poll of a tail that
/// finds entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// This call does its work, and its answer is lost.
    LosesAnswer(usize),
    /// This call and all later ones do nothing, and never answer.
    SilentFrom(usize),
    /// This call panics.
    Panics(usize),
}

#[derive(Clone)]
struct FaultyLog {
    inner: MemoryLog,
    fault: Fault,
    calls: Arc<AtomicUsize>,
    is_silent: Arc<AtomicBool>,
}

enum Turn {
    Works,
    Loses,
    Sleeps,
}

impl FaultyLog {
    fn new(fault: Fault, retention: Retention) -> Interposed<Self> {
        Interposed(Self {
            inner: MemoryLog::new(retention),
            fault,
            calls: Arc::default(),
            is_silent: Arc::default(),
        })
    }

    fn turn(&self) -> Turn {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        match self.fault {
            Fault::LosesAnswer(at) if at == call => Turn::Loses,
            Fault::SilentFrom(at) if at <= call => Turn::Sleeps,
            Fault::Panics(at) if at == call => panic!("the log has a bug"),
            _ if self.is_silent.load(Ordering::SeqCst) => Turn::Sleeps,
            _ => Turn::Works,
        }
    }

    fn answer<'a, T: Send + 'a>(
        &'a self,
        work: impl FnOnce() -> LogFuture<'a, T> + Send + 'a,
    ) -> LogFuture<'a, T> {
        match self.turn() {
            Turn::Works => work(),
            Turn::Loses => {
                let done = work();
                Box::pin(async move {
                    done.await.ok();
                    pending().await
                })
            }
            Turn::Sleeps => Box::pin(pending()),
        }
    }
}

impl Interpose for FaultyLog {
    fn inner(&self) -> &dyn Log {
        &self.inner
    }

    fn bounds(&self) -> LogFuture<'_, Bounds> {
        self.answer(|| self.inner.bounds())
    }

    fn ends(&self) -> LogFuture<'_, Vec<(ChannelName, u64)>> {
        self.answer(|| self.inner.ends())
    }

    fn channel<'a>(&'a self, name: &'a ChannelName) -> LogFuture<'a, Option<StoredChannel>> {
        self.answer(move || self.inner.channel(name))
    }

    fn channels<'a>(
        &'a self,
        after: Option<&'a ChannelName>,
        limit: usize,
    ) -> LogFuture<'a, Vec<StoredChannel>> {
        self.answer(move || self.inner.channels(after, limit))
    }

    fn append(&self, draft: Draft) -> LogFuture<'_, Appended> {
        self.answer(|| self.inner.append(draft))
    }

    fn locate<'a>(&'a self, start: Start, scope: Scope<'a>) -> LogFuture<'a, Located> {
        self.answer(move || self.inner.locate(start, scope))
    }

    fn read<'a>(&'a self, after: u64, limit: usize, scope: Scope<'a>) -> LogFuture<'a, Page> {
        self.answer(move || self.inner.read(after, limit, scope))
    }

    fn tail(&self, after: &Position) -> Tail {
        let (log, inner) = (self.clone(), self.inner.tail(after));
        match self.turn() {
            Turn::Works => {}
            Turn::Loses | Turn::Sleeps => return stream::pending().boxed(),
        }
        FaultyTail {
            log,
            inner: Some(inner),
        }
        .boxed()
    }

    fn renew_epoch<'a>(&'a self, expected: &'a Epoch) -> LogFuture<'a, Epoch> {
        self.answer(move || self.inner.renew_epoch(expected))
    }
}

/// A tail whose batches are calls.
struct FaultyTail {
    log: FaultyLog,
    /// `None` once it is silent.
    inner: Option<Tail>,
}

impl Stream for FaultyTail {
    type Item = Result<Vec<Entry>, LogError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(inner) = &mut self.inner else {
            return Poll::Pending;
        };
        let batch = std::task::ready!(inner.as_mut().poll_next(cx));
        match self.log.turn() {
            Turn::Works => Poll::Ready(batch),
            Turn::Loses | Turn::Sleeps => {
                self.inner = None;
                Poll::Pending
            }
        }
    }
}

fn event(text: &str) -> Event {
    Event::new(text)
}

fn hub(log: &Interposed<FaultyLog>) -> Hub {
    Hub::builder().tape_bytes(0).over(log.clone())
}

/// The texts of the events up to this one. Gaps count as texts too.
async fn texts(stream: &mut SubscriptionStream, last: &str) -> Vec<String> {
    let mut texts = Vec::new();
    while texts.last().is_none_or(|text| text != last) {
        let events = stream.next().await.unwrap().unwrap().to_events();
        texts.extend(events.iter().map(|event| event.text().to_owned()));
    }
    texts
}

/// Publishes until it is confirmed, as a caller does.
async fn publish(hub: &Hub, channel: &str, text: &str) -> EventId {
    loop {
        match hub.publish(channel, event(text)).key(text).await {
            Ok(position) => return EventId::from(&position),
            Err(error) => assert_eq!(error.kind(), PublishErrorKind::Unconfirmed, "{error:?}"),
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// Every call of the hub, in each of its stages: start, publication, replay, a broken tail, a log that
/// lost entries, the end of a channel, its replay, a second end, and the start of another hub.
async fn live(log: &Interposed<FaultyLog>) {
    let first = hub(log);
    live_on(log, &first).await;
}

async fn live_on(log: &Interposed<FaultyLog>, first: &Hub) {
    let mut live = first.subscribe("a").earliest().resume_after(None);
    let one = publish(first, "a", "1").await;
    publish(first, "a", "2").await;
    assert_eq!(texts(&mut live, "2").await, ["1", "2"]);
    for n in 0..3 {
        publish(first, "else", &n.to_string()).await;
    }
    // The tail breaks, and the log has another epoch.
    let epoch = log.inner.bounds().await.unwrap().epoch;
    log.inner.renew_epoch(&epoch).await.unwrap();
    publish(first, "a", "3").await;
    let received = texts(&mut live, "3").await;
    let gap = received
        .iter()
        .filter(|text| text.contains("epoch"))
        .count();
    assert!(gap <= 1 && received.len() <= 4, "{received:?}");
    // The log has lost its newest entry.
    let last = log.inner.bounds().await.unwrap().last;
    log.inner.rewind(last.seq - 1);
    publish(first, "a", "4").await;
    texts(&mut live, "4").await;
    let second = hub(log);
    let mut resumed = second.subscribe("a").earliest().resume_after(Some(&one));
    assert!(texts(&mut resumed, "4").await.len() >= 2);
    let channel = first.channel("a").unwrap();
    while let Err(error) = channel.end().await {
        if error.kind() == PublishErrorKind::Ended {
            break;
        }
        assert_eq!(error.kind(), PublishErrorKind::Unconfirmed);
    }
    assert!(live.next().await.is_none());
    assert!(resumed.next().await.is_none());
    while let Err(error) = second.publish("a", event("late")).await {
        if error.kind() == PublishErrorKind::Ended {
            break;
        }
        assert_eq!(error.kind(), PublishErrorKind::Unconfirmed);
    }
    publish(first, "else", "end").await;
    log.inner.trim(u64::MAX);
    publish(first, "b", "5").await;
    publish(&second, "b", "6").await;
    // The log remembers the end, and the newest events are those of another channel.
    assert_eq!(channel.state().await.unwrap().status, ChannelStatus::Ended);
    let listed = second.channels(None, 10).await.unwrap();
    assert!(listed.iter().any(|state| state.name.as_str() == "b"));
    let newest = second.subscribe("b").last(1).resume_after(None);
    assert_eq!(texts(&mut { newest }, "6").await, ["6"]);
    let mut over = second.subscribe("a").resume_after(Some(&one));
    while let Some(events) = over.next().await {
        let events = events.unwrap().to_events();
        assert!(events.iter().all(|event| event.event_type() == "gap"));
    }
    first.drain().await;
}

/// Calls until the scenario has ended without a fault.
async fn calls() -> usize {
    let log = FaultyLog::new(Fault::None, Retention::in_memory());
    timeout(Duration::from_secs(60), live(&log)).await.unwrap();
    log.calls.load(Ordering::SeqCst)
}

#[tokio::test(start_paused = true)]
async fn one_lost_answer_delays_everything_by_seconds_and_loses_nothing() {
    let calls = calls().await;
    assert!(calls > 60, "{calls}");
    for at in 0..calls {
        let log = FaultyLog::new(Fault::LosesAnswer(at), Retention::in_memory());
        let start = Instant::now();
        let lived = timeout(Duration::from_secs(60), live(&log)).await;
        assert!(lived.is_ok(), "the answer of call {at} of {calls}");
        let took = start.elapsed();
        // The longest is a lost append: the publisher learns after the limit that it is unconfirmed.
        assert!(took < LIMIT + LIMIT / 9, "call {at} of {calls}: {took:?}");
    }
}

/// Asserts that each use of a hub ends within the limit of its silent log.
async fn use_silent(hub: &Hub, at: usize) {
    let is_expected = |kind| {
        matches!(
            kind,
            PublishErrorKind::Unconfirmed | PublishErrorKind::Log | PublishErrorKind::Ended
        )
    };
    let published = within_limit(at, "publish", hub.publish("a", event("x"))).await;
    assert!(is_expected(published.unwrap_err().kind()));
    let channel = hub.channel("b").unwrap();
    let ended = within_limit(at, "end", channel.end()).await;
    assert!(is_expected(ended.unwrap_err().kind()));
    let mut reader = hub.subscribe("a").earliest().resume_after(None);
    let error = within_limit(at, "read", reader.next()).await.unwrap();
    assert_eq!(error.unwrap_err().kind(), SubscribeErrorKind::Log);
    drop(hub.channel("c").unwrap().producer(event("last")).unwrap());
    within_limit(at, "drain", hub.drain()).await;
}

async fn within_limit<T>(at: usize, what: &str, used: impl Future<Output = T>) -> T {
    let start = Instant::now();
    let output = timeout(LIMIT * 9, used).await;
    let took = start.elapsed();
    // The hub looks for publishers that have waited too long in every tenth of the limit.
    assert!(
        took < LIMIT + LIMIT / 9,
        "silent from call {at}: {what} took {took:?}"
    );
    output.unwrap()
}

/// The default of `log_timeout`.
const LIMIT: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn a_silent_log_fails_every_use_of_the_hub_within_its_limit() {
    let calls = calls().await;
    for at in 0..calls.min(40) {
        let log = FaultyLog::new(Fault::SilentFrom(at), Retention::in_memory());
        let first = hub(&log);
        timeout(Duration::from_secs(1), live_on(&log, &first))
            .await
            .ok();
        log.is_silent.store(true, Ordering::SeqCst);
        use_silent(&first, at).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_log_is_an_error_and_the_hub_continues() {
    let calls = calls().await;
    for at in 0..calls {
        let log = FaultyLog::new(Fault::Panics(at), Retention::in_memory());
        let start = Instant::now();
        let lived = timeout(Duration::from_secs(60), live_through(&log)).await;
        assert!(lived.is_ok(), "the panic of call {at} of {calls}");
        let took = start.elapsed();
        assert!(
            took < Duration::from_secs(20),
            "call {at} of {calls}: {took:?}"
        );
    }
}

/// Publishes until the log works again, and then reads everything.
async fn live_through(log: &Interposed<FaultyLog>) {
    let hub = hub(log);
    for text in ["1", "2", "3"] {
        while let Err(error) = hub.publish("a", event(text)).key(text).await {
            assert_eq!(error.kind(), PublishErrorKind::Log, "{error:?}");
        }
    }
    let epoch = log.inner.bounds().await.unwrap().epoch;
    log.inner.renew_epoch(&epoch).await.unwrap();
    while hub.publish("a", event("4")).key("4").await.is_err() {
        sleep(Duration::from_millis(10)).await;
    }
    loop {
        let mut reader = hub.subscribe("a").earliest().resume_after(None);
        let mut received = Vec::new();
        while received.last().is_none_or(|text| text != "4") {
            let Some(Ok(events)) = reader.next().await else {
                break;
            };
            received.extend(
                events
                    .to_events()
                    .iter()
                    .map(|event| event.text().to_owned()),
            );
        }
        if received == ["1", "2", "3", "4"] {
            break;
        }
    }
    hub.channel("a").unwrap().end().await.ok();
    hub.drain().await;
}
