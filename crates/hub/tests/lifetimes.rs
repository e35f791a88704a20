//! What becomes of a hub at its edges: of runtimes, handles, ends and slow readers.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use tidings_hub::{
    Event, Grant, Hub, MemoryLog, Presence, Publish, Retention, SlowReader, Subscription,
};
use tidings_proto::{Decoder, Feed, Gap, GapReason};
use tokio::runtime::Runtime;
use tokio::time::{sleep, timeout};

fn event(text: &str) -> Event {
    Event::new(text)
}

/// What so many events say.
async fn heard(subscription: &mut Subscription, count: usize) -> Vec<String> {
    let mut heard = Vec::new();
    while heard.len() < count {
        let events = timeout(Duration::from_secs(30), subscription.next()).await;
        let events = events.unwrap().unwrap().unwrap();
        let mut decoder = Decoder::new();
        heard.extend(
            decoder
                .decode(events.bytes())
                .map(|event| event.unwrap().text().to_owned()),
        );
    }
    heard
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

#[test]
fn a_hub_outlives_a_runtime_that_never_ran_its_task() {
    let hub = runtime().block_on(async { Hub::in_memory() });
    let published = async { timeout(Duration::from_secs(5), hub.publish("a", event("x"))).await };
    runtime().block_on(published).unwrap().unwrap();
    // One that has ended already.
    let ended = runtime();
    let _entered = ended.enter();
    let handle = ended.handle().clone();
    drop(_entered);
    drop(ended);
    let hub = {
        let _entered = handle.enter();
        Hub::in_memory()
    };
    let published = async { timeout(Duration::from_secs(5), hub.publish("a", event("x"))).await };
    runtime().block_on(published).unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_producer_that_is_the_last_handle_leaves_no_task_behind() {
    let log = Arc::new(MemoryLog::default());
    let hub = Hub::over(Arc::clone(&log));
    let producer = hub.channel("a").unwrap().producer(event("cut")).unwrap();
    producer.publish(event("x")).await.unwrap();
    drop(hub);
    drop(producer);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(format!("{log:?}").matches("last: 3").count(), 1, "{log:?}");
    assert_eq!(Arc::strong_count(&log), 1);
}

#[tokio::test(start_paused = true)]
async fn who_was_sent_away_hears_the_rest_when_it_comes_back() {
    let hub = Hub::in_memory();
    let subscribe = || {
        let subscription = hub.subscribe("a").max_lag(3);
        subscription.slow_reader(SlowReader::disconnect())
    };
    let first = hub.publish("a", event("first")).await.unwrap();
    for n in 0..10 {
        hub.publish("a", event(&n.to_string())).await.unwrap();
    }
    let mut back = subscribe();
    back.resume(Some(&first.to_string()));
    assert_eq!(
        heard(&mut back, 10).await,
        ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
    );
    // Once it has heard all that there was, it is slow as anybody is.
    for n in 10..14 {
        hub.publish("a", event(&n.to_string())).await.unwrap();
    }
    assert!(back.next().await.is_none());
    // Who has not caught up yet is not.
    let mut late = subscribe();
    late.resume(Some(&first.to_string()));
    poll_fn(|cx| late.poll_open(cx)).await.unwrap();
    for n in 14..18 {
        hub.publish("a", event(&n.to_string())).await.unwrap();
    }
    assert_eq!(heard(&mut late, 18).await.last().unwrap(), "17");
}

/// Hears the latest event of each key.
fn latest(
    hub: &Hub,
    key: impl Fn(&Event) -> Option<String> + Send + Sync + 'static,
) -> Subscription {
    let latest = SlowReader::latest_by(key);
    hub.subscribe("a").earliest().max_lag(1).slow_reader(latest)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_says_the_key_of_an_event_keeps_nobody_waiting() {
    let hub = Hub::in_memory();
    for _ in 0..10 {
        hub.publish("a", event("x")).await.unwrap();
    }
    // The closure waits until something else has ended and is heard of.
    let (asked, mut ask) = tokio::sync::mpsc::unbounded_channel();
    let (answer, answered) = std::sync::mpsc::channel();
    let answered = Mutex::new(answered);
    let mut subscription = latest(&hub, move |_| {
        asked.send(()).ok();
        let answered = answered.lock().unwrap();
        answered
            .recv_timeout(Duration::from_secs(5))
            .expect("in time");
        None
    });
    let other = hub.channel("b").unwrap();
    tokio::spawn(async move {
        ask.recv().await.unwrap();
        other.end().await.unwrap();
        for _ in 0..10 {
            answer.send(()).ok();
        }
    });
    assert_eq!(heard(&mut subscription, 10).await.len(), 10);
}

#[tokio::test(start_paused = true)]
async fn the_latest_of_many_keys_are_kept_up_to_some_bytes() {
    const BYTES: usize = 1 << 20;
    let hub = Hub::builder()
        .max_event_bytes(2 * BYTES)
        .in_memory(Retention::in_memory());
    for n in 10..50 {
        let text = "x".repeat(BYTES) + &n.to_string();
        hub.publish("a", event(&text)).await.unwrap();
    }
    let mut subscription = latest(&hub, |event| Some(event.text().to_owned()));
    let gap = subscription.next().await.unwrap().unwrap();
    let gap = Decoder::new().decode(gap.bytes()).next().unwrap().unwrap();
    let missed = usize::try_from(Gap::from_event(&gap).unwrap().missed.unwrap()).unwrap();
    assert!((20..30).contains(&missed), "{missed}");
    let kept = heard(&mut subscription, 40 - missed).await;
    assert_eq!(kept.len(), 40 - missed);
    assert!(kept.last().unwrap().ends_with("x49"));
}

#[tokio::test(start_paused = true)]
async fn who_has_much_to_hear_lets_others_run() {
    let hub = Hub::builder()
        .tape_bytes(0)
        .in_memory(Retention::in_memory());
    for _ in 0..40_000 {
        hub.publish("a", event("x")).await.unwrap();
    }
    let turns = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&turns);
    let counter = tokio::spawn(async move {
        loop {
            counted.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
        }
    });
    let mut replay = hub.subscribe("a").earliest();
    heard(&mut replay, 40_000).await;
    assert!(turns.swap(0, Ordering::SeqCst) > 0);
    let mut latest = latest(&hub, |_| Some(String::new()));
    latest.next().await.unwrap().unwrap();
    assert!(turns.swap(0, Ordering::SeqCst) > 10);
    counter.abort();
}

/// Publishes in the middle of being woken, as an executor may that runs a task where it is woken.
struct Inline(Mutex<Option<Publish>>);

impl Wake for Inline {
    fn wake(self: Arc<Self>) {
        let publish = self.0.lock().unwrap().take();
        if let Some(mut publish) = publish {
            let mut context = Context::from_waker(Waker::noop());
            assert!(Pin::new(&mut publish).poll(&mut context).is_pending());
        }
    }
}

#[test]
fn who_is_woken_may_publish_at_once() {
    let (done, is_done) = std::sync::mpsc::channel();
    // In a thread of its own, as a deadlock would keep this one for ever.
    std::thread::spawn(move || {
        runtime().block_on(async {
            let hub = Hub::in_memory();
            let mut first = hub.publish("a", event("1"));
            let second = hub.publish("a", event("2"));
            let waker = Waker::from(Arc::new(Inline(Mutex::new(Some(second)))));
            let mut context = Context::from_waker(&waker);
            assert!(Pin::new(&mut first).poll(&mut context).is_pending());
            let third = hub.publish("a", event("3")).await.unwrap();
            assert_eq!(third.seq, 2);
            assert_eq!(hub.publish("a", event("4")).await.unwrap().seq, 4);
        });
        done.send(()).unwrap();
    });
    is_done.recv_timeout(Duration::from_secs(5)).unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_hears_under_a_grant_is_told_that_it_is_revoked() {
    let hub = Hub::builder()
        .tape_bytes(0)
        .in_memory(Retention::in_memory());
    for _ in 0..600 {
        hub.publish("a/b", event("x")).await.unwrap();
    }
    let grant = Grant::new(["a/*"]).unwrap();
    let mut waits = hub.subscribe_all(["a/*"]).grant(&grant);
    let mut replays = hub.subscribe("a/b").earliest().grant(&grant.clone());
    assert!(timeout(Duration::from_secs(1), waits.next()).await.is_err());
    heard(&mut replays, 1).await;
    grant.revoke();
    for subscription in [&mut waits, &mut replays] {
        let closed = heard(subscription, 1).await;
        assert_eq!(closed, [r#"{"reason":"revoked"}"#]);
        assert!(subscription.next().await.is_none());
    }
    // It expires while it is being opened.
    let grant = Grant::new(["a/b"])
        .unwrap()
        .expires_in(Duration::from_secs(1));
    let snapshot = || async {
        sleep(Duration::from_secs(5)).await;
        Ok::<_, std::io::Error>([Event::new("how things stand")])
    };
    let mut late = hub.subscribe("a/b").snapshot(snapshot).grant(&grant);
    assert_eq!(heard(&mut late, 1).await, [r#"{"reason":"expired"}"#]);
    assert!(late.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_presence_hook_may_ask_the_hub() {
    let asked: Arc<OnceLock<Hub>> = Arc::default();
    let counts = Arc::new(Mutex::new(Vec::new()));
    let (hub, seen) = (Arc::clone(&asked), Arc::clone(&counts));
    let hook = move |presence: &Presence| {
        let hub = hub.get().unwrap();
        let count = hub.subscriber_count(&presence.pattern);
        seen.lock()
            .unwrap()
            .push((presence.has_joined, presence.count, count));
        drop(hub.subscribe("b"));
    };
    let hub = Hub::builder()
        .on_presence(hook)
        .in_memory(Retention::in_memory());
    asked.set(hub.clone()).unwrap();
    let mut subscription = hub.subscribe_all(["a", "a"]);
    poll_fn(|cx| subscription.poll_open(cx)).await.unwrap();
    drop(subscription);
    assert_eq!(*counts.lock().unwrap(), [(true, 1, 1), (false, 0, 0)]);
}

/// The mark of who subscribed is older than the hub's life, and than what the log holds.
#[tokio::test(start_paused = true)]
async fn who_subscribed_before_all_was_forgotten_is_told() {
    let hub = Hub::builder().in_memory(Retention::in_memory().max_events(3));
    let mut subscription = hub.subscribe_all(["a", "a/*"]);
    for n in 0..10 {
        hub.publish(["a", "a/b"][n % 2], event(&n.to_string()))
            .await
            .unwrap();
    }
    let gap = subscription.next().await.unwrap().unwrap();
    let gap = Decoder::new().decode(gap.bytes()).next().unwrap().unwrap();
    let gap = Gap::from_event(&gap).unwrap();
    assert_eq!(
        (gap.reason, gap.missed, gap.requested),
        (GapReason::Trimmed, Some(7), None)
    );
    assert_eq!(heard(&mut subscription, 3).await, ["7", "8", "9"]);
}

/// One event at a time, so that every one of them finds the reader waiting, while another channel is busy.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn who_waits_for_several_channels_is_woken_by_each() {
    let hub = Hub::in_memory();
    let busy = tokio::spawn({
        let hub = hub.clone();
        async move {
            loop {
                hub.publish("else", event("x")).await.unwrap();
            }
        }
    });
    let mut reader = hub.subscribe_all(["a", "b", "c/*"]);
    for n in 0..2_000 {
        let text = n.to_string();
        let channel = ["a", "b", "c/d"][n % 3];
        let (published, events) =
            tokio::join!(hub.publish(channel, event(&text)), heard(&mut reader, 1));
        published.unwrap();
        assert_eq!(events, [text]);
    }
    busy.abort();
    for name in ["a", "b"] {
        hub.channel(name).unwrap().end().await.unwrap();
    }
    let mut both = hub.subscribe_all(["a", "b"]);
    assert!(both.next().await.is_none());
}
