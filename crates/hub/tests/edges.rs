//! What becomes of a hub at its edges: of runtimes, handles, ends and slow readers.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::sync::Arc;
use std::time::Duration;

use tidings_hub::{Event, Hub, MemoryLog};
use tokio::runtime::Runtime;
use tokio::time::{sleep, timeout};

fn event(text: &str) -> Event {
    Event::new(text)
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
