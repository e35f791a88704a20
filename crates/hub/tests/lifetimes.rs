//! The lifetimes around a hub: runtimes, handles, grants, producers, and subscribers that fall behind.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use futures_util::{FutureExt, Stream};
use tidings_hub::{
    Event, EventId, Feed, Gap, GapReason, Grant, Hub, MemoryLog, Presence, Publish, Retention,
    SlowReader, SubscriptionStream,
};
use tidings_testkit::timeout::timeout;
use tokio::runtime::Runtime;
use tokio::time::sleep;

fn event(text: &str) -> Event {
    Event::new(text)
}

/// The texts of the next `count` events, or a few more.
async fn texts(stream: &mut SubscriptionStream, count: usize) -> Vec<String> {
    let mut texts = Vec::new();
    while texts.len() < count {
        let events = timeout(Duration::from_secs(30), stream.next()).await;
        let events = events.unwrap().unwrap().unwrap().to_events();
        texts.extend(events.iter().map(|event| event.text().to_owned()));
    }
    texts
}

/// The gap that the next events begin with.
async fn gap(stream: &mut SubscriptionStream) -> Gap {
    let events = stream.next().await.unwrap().unwrap().to_events();
    Gap::from_event(&events[0]).unwrap()
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
    // The runtime of this hub has already ended when the hub is made.
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
async fn a_disconnected_slow_reader_receives_the_rest_after_it_reconnects() {
    let hub = Hub::in_memory();
    let subscribe = || {
        let subscription = hub.subscribe("a").max_lag(3);
        subscription.slow_reader(SlowReader::disconnect())
    };
    let first = hub.publish("a", event("first")).await.unwrap();
    for n in 0..10 {
        hub.publish("a", event(&n.to_string())).await.unwrap();
    }
    let first = EventId::from(&first);
    let mut back = subscribe().resume_after(Some(&first));
    assert_eq!(
        texts(&mut back, 10).await,
        ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
    );
    // Once it has caught up, `max_lag` applies again.
    for n in 10..14 {
        hub.publish("a", event(&n.to_string())).await.unwrap();
    }
    assert!(back.next().await.is_none());
    // Until it has caught up, `max_lag` does not apply.
    let mut late = subscribe();
    late.resume(Some(&first));
    poll_fn(|cx| late.poll_open(cx)).await.unwrap();
    let mut late = late.resume_after(None);
    for n in 14..18 {
        hub.publish("a", event(&n.to_string())).await.unwrap();
    }
    assert_eq!(texts(&mut late, 18).await.last().unwrap(), "17");
}

/// A slow subscriber that receives the latest event of each key.
fn latest(
    hub: &Hub,
    key: impl Fn(&Event) -> Option<String> + Send + Sync + 'static,
) -> SubscriptionStream {
    let slow = hub.subscribe("a").earliest().max_lag(1);
    slow.slow_reader(SlowReader::latest_by(key))
        .resume_after(None)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_key_closure_runs_without_a_lock() {
    let hub = Hub::in_memory();
    for _ in 0..10 {
        hub.publish("a", event("x")).await.unwrap();
    }
    // The closure blocks until another channel has ended, which needs the locks of the hub.
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
    assert_eq!(texts(&mut subscription, 10).await.len(), 10);
}

#[tokio::test(start_paused = true)]
async fn the_latest_events_by_key_may_be_large() {
    const BYTES: usize = 1 << 20;
    let hub = Hub::builder()
        .max_event_bytes(2 * BYTES)
        .in_memory(Retention::in_memory());
    for n in 10..50 {
        let text = "x".repeat(BYTES) + &n.to_string();
        hub.publish("a", event(&text)).await.unwrap();
    }
    let mut subscription = latest(&hub, |event| Some(event.text().to_owned()));
    let kept = texts(&mut subscription, 40).await;
    let numbers = kept.iter().map(|text| &text[BYTES..]);
    assert!(numbers.eq((10..50).map(|n| n.to_string())));
}

#[tokio::test(start_paused = true)]
async fn a_long_replay_lets_other_tasks_run() {
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
    let mut replay = hub.subscribe("a").earliest().resume_after(None);
    texts(&mut replay, 40_000).await;
    assert!(turns.swap(0, Ordering::SeqCst) > 0);
    let mut latest = latest(&hub, |_| Some(String::new()));
    latest.next().await.unwrap().unwrap();
    assert!(turns.swap(0, Ordering::SeqCst) > 10);
    counter.abort();
}

/// A waker that publishes, like an executor that runs a task at once in the call that wakes it.
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
fn a_woken_task_may_publish_at_once() {
    let (done, is_done) = std::sync::mpsc::channel();
    // In a thread of its own, because a deadlock would block this one forever.
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
async fn a_revoked_or_expired_grant_delivers_closed_and_ends_the_stream() {
    let hub = Hub::builder()
        .tape_bytes(0)
        .in_memory(Retention::in_memory());
    for _ in 0..600 {
        hub.publish("a/b", event("x")).await.unwrap();
    }
    let grant = Grant::new(["a/*"]).unwrap();
    let mut waits = hub.subscribe_all(["a/*"]).grant(&grant).resume_after(None);
    let replays = hub.subscribe("a/b").earliest().grant(&grant.clone());
    let mut replays = replays.resume_after(None);
    assert!(timeout(Duration::from_secs(1), waits.next()).await.is_err());
    texts(&mut replays, 1).await;
    grant.revoke();
    for stream in [&mut waits, &mut replays] {
        let closed = texts(stream, 1).await;
        assert_eq!(closed, [r#"{"reason":"revoked"}"#]);
        assert!(stream.next().await.is_none());
    }
    // The grant expires while the subscription opens.
    let grant = Grant::new(["a/b"])
        .unwrap()
        .expires_in(Duration::from_secs(1));
    let snapshot = || async {
        sleep(Duration::from_secs(5)).await;
        Ok::<_, std::io::Error>([Event::new("state")])
    };
    let late = hub.subscribe("a/b").snapshot(snapshot).grant(&grant);
    let mut late = late.resume_after(None);
    assert_eq!(texts(&mut late, 1).await, [r#"{"reason":"expired"}"#]);
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

/// The log has removed the entry that was the newest one at the call of `subscribe`.
#[tokio::test(start_paused = true)]
async fn a_subscriber_whose_start_was_removed_gets_a_gap() {
    let hub = Hub::builder().in_memory(Retention::in_memory().max_events(Some(3)));
    let mut stream = hub.subscribe_all(["a", "a/*"]).resume_after(None);
    for n in 0..10 {
        hub.publish(["a", "a/b"][n % 2], event(&n.to_string()))
            .await
            .unwrap();
    }
    let gap = gap(&mut stream).await;
    assert_eq!(
        (gap.reason, gap.missed, gap.requested),
        (GapReason::Trimmed, Some(7), None)
    );
    assert_eq!(texts(&mut stream, 3).await, ["7", "8", "9"]);
}

/// One event at a time, so that each finds the reader waiting, while another channel is busy.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_subscriber_of_several_channels_is_woken_by_each() {
    let hub = Hub::in_memory();
    let busy = tokio::spawn({
        let hub = hub.clone();
        async move {
            loop {
                hub.publish("else", event("x")).await.unwrap();
            }
        }
    });
    let mut reader = hub.subscribe_all(["a", "b", "c/*"]).resume_after(None);
    for n in 0..2_000 {
        let text = n.to_string();
        let channel = ["a", "b", "c/d"][n % 3];
        let (published, events) =
            tokio::join!(hub.publish(channel, event(&text)), texts(&mut reader, 1));
        published.unwrap();
        assert_eq!(events, [text]);
    }
    busy.abort();
    for name in ["a", "b"] {
        hub.channel(name).unwrap().end().await.unwrap();
    }
    let mut both = hub.subscribe_all(["a", "b"]).resume_after(None);
    assert!(both.next().await.is_none());
}

#[tokio::test]
async fn a_presence_hook_that_panics_leaves_no_subscription_counted() {
    let calls = Arc::new(AtomicUsize::new(0));
    let panics_at = Arc::new(AtomicUsize::new(usize::MAX));
    let hook = {
        let (calls, panics_at) = (Arc::clone(&calls), Arc::clone(&panics_at));
        move |_: &Presence| {
            let call = calls.fetch_add(1, Ordering::Relaxed);
            assert!(call != panics_at.load(Ordering::Relaxed), "the hook fails");
        }
    };
    let hub = Hub::builder()
        .on_presence(hook)
        .in_memory(Retention::in_memory());
    // The hook is called for three patterns that join, and for three that leave.
    for panics in 0..6 {
        calls.store(0, Ordering::Relaxed);
        panics_at.store(panics, Ordering::Relaxed);
        let hub_of_task = hub.clone();
        let subscribed = tokio::spawn(async move {
            let mut stream = hub_of_task
                .subscribe_all(["a", "b", "c/*"])
                .resume_after(None);
            poll_fn(|cx| Pin::new(&mut stream).poll_next(cx).map(drop)).now_or_never();
        });
        assert!(subscribed.await.unwrap_err().is_panic());
        for pattern in ["a", "b", "c/*"] {
            let count = hub.subscriber_count(&pattern.parse().unwrap());
            assert_eq!(count, 0, "of {pattern}, panic at call {panics}");
        }
    }
}
