//! What becomes of a hub at its edges: of runtimes, handles, ends and slow readers.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use tidings_hub::{Event, Hub, MemoryLog, SlowReader, Subscription};
use tidings_proto::{Decoder, Feed};
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
