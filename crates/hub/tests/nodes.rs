//! Several hubs over one log, of which one lags: channels that another has ended, and clients that another
//! has served.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::error::Error;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::{FutureExt, Stream};
use tidings_hub::{
    ChannelName, Draft, Entry, Event, Feed, FeedErrorKind, FeedOpened, Gap, GapReason, Hub, Log,
    LogError, MemoryLog, Position, PublishErrorKind, Retention, SubscribeError, SubscribeErrorKind,
    Subscription, Tail,
};
use tidings_testkit::interpose::{Interpose, Interposed};
use tidings_testkit::scanning_log::ScanningLog;
use tidings_testkit::timeout::timeout;
use tokio::time::{Instant, sleep};

/// Holds the tails of a log while it is closed.
#[derive(Clone, Default)]
struct Gate(Arc<(AtomicBool, Mutex<Vec<Waker>>)>);

impl Gate {
    fn close(&self) {
        self.0.0.store(true, Ordering::SeqCst);
    }

    fn open(&self) {
        self.0.0.store(false, Ordering::SeqCst);
        self.0.1.lock().unwrap().drain(..).for_each(Waker::wake);
    }

    fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        if self.0.0.load(Ordering::SeqCst) {
            self.0.1.lock().unwrap().push(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}

/// A log whose tails deliver nothing while the gate is closed, as on a node that lags.
struct LaggingLog {
    inner: MemoryLog,
    gate: Gate,
}

impl Interpose for LaggingLog {
    fn inner(&self) -> &dyn Log {
        &self.inner
    }

    fn tail(&self, after: &Position) -> Tail {
        let (inner, gate) = (self.inner.tail(after), self.gate.clone());
        Box::pin(LaggingTail { inner, gate })
    }
}

struct LaggingTail {
    inner: Tail,
    gate: Gate,
}

impl Stream for LaggingTail {
    type Item = Result<Vec<Entry>, LogError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        std::task::ready!(self.gate.poll(cx));
        self.inner.as_mut().poll_next(cx)
    }
}

/// Two hubs over one log. The second one lags while the gate is closed.
struct Nodes {
    log: MemoryLog,
    first: Hub,
    second: Hub,
    gate: Gate,
}

impl Nodes {
    fn new() -> Self {
        let (log, gate) = (MemoryLog::default(), Gate::default());
        let lagging = LaggingLog {
            inner: log.clone(),
            gate: gate.clone(),
        };
        Self {
            first: Hub::over(log.clone()),
            second: Hub::over(Interposed(lagging)),
            log,
            gate,
        }
    }

    /// Nodes whose second hub has received "0", and nothing that follows it.
    async fn lagging() -> Self {
        let nodes = Self::new();
        publish(&nodes.second, "a", "0").await;
        nodes.gate.close();
        nodes
    }

    async fn last(&self) -> u64 {
        self.log.bounds().await.unwrap().last.seq
    }
}

async fn publish(hub: &Hub, channel: &str, text: &str) -> Position {
    hub.publish(channel, Event::new(text)).await.unwrap()
}

fn resumed(mut subscription: Subscription, position: &Position) -> Subscription {
    subscription.resume(Some(&position.to_string()));
    subscription
}

/// Opens it, unless it waits.
fn open_now(subscription: &mut Subscription) -> Option<FeedOpened> {
    let opened = poll_fn(|cx| subscription.poll_open(cx)).now_or_never();
    opened.map(Result::unwrap)
}

async fn open(subscription: &mut Subscription) -> FeedOpened {
    let opened = poll_fn(|cx| subscription.poll_open(cx));
    let opened = timeout(Duration::from_secs(60), opened).await;
    opened.unwrap().unwrap()
}

async fn next(subscription: &mut Subscription) -> Vec<Event> {
    let events = poll_fn(|cx| subscription.poll_events(cx));
    let events = timeout(Duration::from_secs(60), events).await;
    events.unwrap().unwrap().unwrap().to_events()
}

/// The texts of the next events up to this one. A gap is its reason.
async fn texts(subscription: &mut Subscription, last: &str) -> Vec<String> {
    let mut texts = Vec::new();
    while texts.last().is_none_or(|text| text != last) {
        texts.extend(next(subscription).await.iter().map(|event| {
            let gap = Gap::from_event(event);
            gap.map_or_else(
                || event.text().to_owned(),
                |gap| format!("{:?}", gap.reason),
            )
        }));
    }
    texts
}

/// Gives the tasks of all hubs some turns, in no time.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_of_another_node_waits_until_this_one_has_reached_its_position() {
    let nodes = Nodes::lagging().await;
    publish(&nodes.first, "a", "1").await;
    let two = publish(&nodes.first, "a", "2").await;
    let mut client = resumed(nodes.second.subscribe("a"), &two);
    let mut pattern = resumed(nodes.second.subscribe_all(["a", "b/*"]), &two);
    for _ in 0..3 {
        assert_eq!(open_now(&mut client), None);
        assert_eq!(open_now(&mut pattern), None);
        settle().await;
    }
    publish(&nodes.first, "a", "3").await;
    nodes.gate.open();
    for client in [&mut client, &mut pattern] {
        assert_eq!(open(client).await, FeedOpened::Stream);
        publish(&nodes.first, "a", "4").await;
        assert_eq!(texts(client, "4").await[..2], ["3", "4"]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_the_log_loses_while_its_client_waits_is_told() {
    // Another entry takes its place, and this node's own entries are still there.
    let nodes = Nodes::lagging().await;
    let one = publish(&nodes.first, "a", "1").await;
    let mut client = resumed(nodes.second.subscribe("a"), &one);
    assert_eq!(open_now(&mut client), None);
    nodes.log.rewind(one.seq - 1);
    let draft = Draft::event(ChannelName::new("a").unwrap(), "data: other\n\n");
    nodes.log.append(draft).await.unwrap();
    nodes.gate.open();
    assert_eq!(open(&mut client).await, FeedOpened::Stream);
    publish(&nodes.second, "a", "2").await;
    let received = texts(&mut client, "2").await;
    assert_eq!(received, ["Epoch", "2"]);

    // This node's newest entry is lost too.
    let nodes = Nodes::lagging().await;
    let one = publish(&nodes.first, "a", "1").await;
    let mut client = resumed(nodes.second.subscribe("a"), &one);
    assert_eq!(open_now(&mut client), None);
    nodes.log.rewind(0);
    nodes.gate.open();
    assert_eq!(open(&mut client).await, FeedOpened::Stream);
    let gap = Gap::from_event(&next(&mut client).await[0]).unwrap();
    assert_eq!(gap.reason, GapReason::Epoch);
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_is_removed_while_its_client_waits_is_no_loss() {
    let nodes = Nodes::lagging().await;
    let one = publish(&nodes.first, "a", "1").await;
    publish(&nodes.first, "b", "x").await;
    let mut client = resumed(nodes.second.subscribe("a"), &one);
    assert_eq!(open_now(&mut client), None);
    nodes.log.trim(one.seq + 1);
    nodes.gate.open();
    assert_eq!(open(&mut client).await, FeedOpened::Stream);
    publish(&nodes.first, "a", "2").await;
    assert_eq!(texts(&mut client, "2").await, ["2"]);
}

/// The retention has removed entries that the node has not received.
#[tokio::test(start_paused = true)]
async fn a_node_that_the_retention_has_overtaken_tells_each_client_of_its_own_loss() {
    let nodes = Nodes::lagging().await;
    let [mut live, mut quiet] = ["a", "quiet"].map(|channel| nodes.second.subscribe(channel));
    for subscription in [&mut live, &mut quiet] {
        assert_eq!(open(subscription).await, FeedOpened::Stream);
    }
    for n in 1..=20 {
        publish(&nodes.first, "a", &n.to_string()).await;
    }
    nodes.log.trim(15);
    let mut earliest = nodes.second.subscribe("a").earliest();
    let mut last = nodes.second.subscribe("a").last(2);
    for _ in 0..3 {
        assert_eq!(open_now(&mut earliest), None);
        settle().await;
    }
    assert_eq!(open_now(&mut last), None);
    nodes.gate.open();
    // "0" was received, and has the number 1.
    for (client, missed) in [(&mut live, 13), (&mut earliest, 14)] {
        let events = next(client).await;
        let gap = Gap::from_event(&events[0]).unwrap();
        assert_eq!((gap.reason, gap.requested), (GapReason::Trimmed, None));
        assert_eq!(gap.missed, Some(missed));
        let expected: Vec<_> = (14..=20).map(|n| n.to_string()).collect();
        assert_eq!(texts(client, "20").await, expected);
    }
    assert_eq!(texts(&mut last, "20").await, ["19", "20"]);
    publish(&nodes.first, "quiet", "mine").await;
    assert_eq!(texts(&mut quiet, "mine").await, ["mine"]);
}

#[tokio::test(start_paused = true)]
async fn an_id_that_the_log_never_issued_is_answered_at_once() {
    let nodes = Nodes::lagging().await;
    let one = publish(&nodes.first, "a", "1").await;
    let check = publish(&nodes.first, "b", "x").await.check;
    let future = Position {
        seq: 1_000,
        ..one.clone()
    };
    // The number of a stored entry, and the check of another one.
    let other = Position { check, ..one };
    for (position, reason) in [(future, GapReason::Future), (other, GapReason::Epoch)] {
        let mut client = resumed(nodes.second.subscribe("a"), &position);
        assert_eq!(
            open_now(&mut client),
            Some(FeedOpened::Stream),
            "{position}"
        );
        let gap = Gap::from_event(&next(&mut client).await[0]).unwrap();
        assert_eq!(gap.reason, reason);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_of_a_node_that_never_reaches_its_position_gets_an_error_within_the_limit() {
    let nodes = Nodes::lagging().await;
    let one = publish(&nodes.first, "a", "1").await;
    let mut client = resumed(nodes.second.subscribe("a"), &one);
    let began = Instant::now();
    let opened = poll_fn(|cx| client.poll_open(cx));
    let opened = timeout(Duration::from_secs(60), opened).await.unwrap();
    let error = opened.unwrap_err();
    assert_eq!(error.kind(), FeedErrorKind::Unavailable);
    let source: &SubscribeError = error.source().unwrap().downcast_ref().unwrap();
    assert_eq!(source.kind(), SubscribeErrorKind::Log);
    assert_eq!(began.elapsed(), Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn what_follows_an_end_is_refused_on_a_node_that_has_not_received_the_end() {
    let nodes = Nodes::lagging().await;
    let channel = nodes.second.channel("a").unwrap();
    nodes.first.channel("a").unwrap().end().await.unwrap();
    let last = nodes.last().await;
    let error = channel.publish(Event::new("late")).await.unwrap_err();
    assert_eq!(error.kind(), PublishErrorKind::Ended);
    let error = channel
        .publish(Event::new("late"))
        .key("k")
        .await
        .unwrap_err();
    assert_eq!(error.kind(), PublishErrorKind::Ended);
    let error = channel.end().await.unwrap_err();
    assert_eq!(error.kind(), PublishErrorKind::Ended);
    assert_eq!(nodes.last().await, last, "nothing is stored");
    nodes.gate.open();
    settle().await;
    let error = channel.publish(Event::new("late")).await.unwrap_err();
    assert_eq!(error.kind(), PublishErrorKind::Ended);
    let mut stream = channel.subscribe().earliest().resume_after(None);
    let events = stream.next().await.unwrap().unwrap().to_events();
    assert_eq!(events.len(), 1);
    assert!(stream.next().await.is_none());
}

/// The log decides which of two ends is the first.
#[tokio::test(start_paused = true)]
async fn of_two_nodes_that_end_a_channel_at_once_one_is_refused() {
    let nodes = Nodes::new();
    let [first, second] = [&nodes.first, &nodes.second].map(|hub| hub.channel("a").unwrap());
    publish(&nodes.first, "a", "1").await;
    let (ended, published, again) = tokio::join!(
        first.end(),
        second.publish(Event::new("late")),
        second.end()
    );
    ended.unwrap();
    assert_eq!(published.unwrap_err().kind(), PublishErrorKind::Ended);
    assert_eq!(again.unwrap_err().kind(), PublishErrorKind::Ended);
    assert_eq!(nodes.last().await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_repeat_of_a_key_after_the_end_returns_the_first_position() {
    let nodes = Nodes::lagging().await;
    let publish = |hub: &Hub| hub.publish("a", Event::new("1")).key("k");
    let first = publish(&nodes.first).await.unwrap();
    nodes.first.channel("a").unwrap().end().await.unwrap();
    assert_eq!(publish(&nodes.first).await.unwrap(), first);
    // The other node knows neither the event nor the end.
    let mut repeat = pin!(publish(&nodes.second));
    assert!(repeat.as_mut().now_or_never().is_none());
    nodes.gate.open();
    assert_eq!(repeat.await.unwrap(), first);
    assert_eq!(publish(&nodes.second).await.unwrap(), first);
    // Another key is refused, and is not remembered.
    for hub in [&nodes.first, &nodes.second] {
        for _ in 0..2 {
            let refused = hub.publish("a", Event::new("2")).key("other").await;
            assert_eq!(refused.unwrap_err().kind(), PublishErrorKind::Ended);
        }
    }
    // A log that stores what follows an end is not asked.
    let log = ScanningLog::new(Retention::in_memory());
    let hub = Hub::over(log);
    publish(&hub).await.unwrap();
    hub.channel("a").unwrap().end().await.unwrap();
    let error = publish(&hub).await.unwrap_err();
    assert_eq!(error.kind(), PublishErrorKind::Ended);
}

#[tokio::test(start_paused = true)]
async fn a_producer_whose_channel_another_node_has_ended_stores_nothing() {
    let nodes = Nodes::new();
    let producer = |words: &str| {
        let channel = nodes.second.channel("a").unwrap();
        channel.producer(Event::new(words.to_owned())).unwrap()
    };
    let [publishes, finishes, drops] = ["1", "2", "3"].map(producer);
    publishes.publish(Event::new("x")).await.unwrap();
    nodes.gate.close();
    nodes.first.channel("a").unwrap().end().await.unwrap();
    let last = nodes.last().await;
    let error = publishes.publish(Event::new("y")).await.unwrap_err();
    assert_eq!(error.kind(), PublishErrorKind::Ended);
    let error = finishes.finish().await.unwrap_err();
    assert_eq!(error.kind(), PublishErrorKind::Ended);
    drop((publishes, drops));
    // Nothing is left to do, so the drain waits for nothing.
    let drained = timeout(Duration::from_millis(100), nodes.second.drain());
    drained.await.unwrap();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(nodes.last().await, last);
}
