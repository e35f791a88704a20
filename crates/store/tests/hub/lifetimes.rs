//! How a store and its hubs begin and end, inside and outside a runtime.

use std::future::poll_fn;

use futures_util::{FutureExt, StreamExt};
use tidings_hub::{ChannelName, Draft, Event, Feed, Hub, Log, LogErrorKind};
use tidings_store::{StoreErrorKind, StoreLog};
use tidings_testkit::settled_log::wait;
use tokio::runtime::Runtime;

use super::{Home, is_free, publish, within};

fn event(text: &str) -> Draft {
    Draft::event(ChannelName::new("a").unwrap(), text.to_owned())
}

#[test]
fn a_hub_over_a_store_is_made_without_a_runtime() {
    let home = Home::new();
    let hub = Hub::over(home.open());
    let runtime = Runtime::new().unwrap();
    assert_eq!(runtime.block_on(publish(&hub, "a", "1")).seq, 1);
    // Another runtime, after the first one has ended.
    drop(runtime);
    let runtime = Runtime::new().unwrap();
    assert_eq!(runtime.block_on(publish(&hub, "a", "2")).seq, 2);
}

#[test]
fn a_store_answers_without_a_runtime() {
    let home = Home::new();
    let log = home.open();
    assert_eq!(wait(log.append(event("1"))).unwrap().seq, 1);
    let newest = wait(log.bounds()).unwrap().newest();
    let mut tail = log.tail(&tidings_hub::Place::start().in_epoch(&newest.epoch));
    assert_eq!(wait(tail.next()).unwrap().unwrap().len(), 1);
    let page = wait(log.read(0, 10, tidings_hub::Scope::all(&newest))).unwrap();
    assert_eq!(page.entries.len(), 1);
    wait(log.close()).unwrap();
    assert!(is_free(&home.path()));
}

#[test]
fn the_last_drop_outside_a_runtime_closes_the_store() {
    let home = Home::new();
    let log = home.open();
    let clone = log.clone();
    wait(log.append(event("1"))).unwrap();
    drop(log);
    let locked = StoreLog::open(home.path()).unwrap_err();
    assert!(matches!(locked.kind(), StoreErrorKind::Locked { .. }));
    drop(clone);
    let log = home.open();
    assert_eq!(wait(log.bounds()).unwrap().last.seq, 1);
}

#[tokio::test]
async fn the_last_drop_inside_a_runtime_closes_the_store() {
    let home = Home::new();
    let log = home.open();
    log.append(event("1")).await.unwrap();
    // Never polled, but stored before the close.
    drop(log.append(event("2")));
    drop(log);
    let log = home.open();
    assert_eq!(log.bounds().await.unwrap().last.seq, 2);
}

#[test]
fn a_drop_while_a_runtime_ends_closes_the_store() {
    let home = Home::new();
    let runtime = Runtime::new().unwrap();
    let hub = Hub::over(home.open());
    runtime.block_on(publish(&hub, "a", "1"));
    let kept = hub.clone();
    runtime.spawn(async move {
        poll_fn(|cx| hub.subscribe("a").poll_open(cx))
            .await
            .unwrap();
        std::future::pending::<()>().await;
    });
    drop(runtime);
    drop(kept);
    assert!(is_free(&home.path()));
}

#[tokio::test]
async fn a_tail_keeps_its_store_open_and_a_close_ends_it() {
    let home = Home::new();
    let log = home.open();
    let start = log.bounds().await.unwrap().newest();
    let mut tail = log.tail(&start);
    log.append(event("1")).await.unwrap();
    drop(log.clone());
    assert_eq!(within(tail.next()).await.unwrap().unwrap().len(), 1);
    let mut waiting = log.tail(&log.bounds().await.unwrap().newest());
    let (ended, closed) = within(async { tokio::join!(waiting.next(), log.close()) }).await;
    closed.unwrap();
    let error = ended.unwrap().unwrap_err();
    assert_eq!(error.kind(), LogErrorKind::Lost);
    assert!(within(waiting.next()).await.is_none());
    assert!(is_free(&home.path()));
    // After the close, a tail keeps nothing.
    drop(tail);
}

#[tokio::test]
async fn everything_fails_after_a_close() {
    let home = Home::new();
    let log = home.open();
    log.append(event("1")).await.unwrap();
    let newest = log.bounds().await.unwrap().newest();
    log.close().await.unwrap();
    let name = ChannelName::new("a").unwrap();
    let scope = tidings_hub::Scope::all(&newest);
    let errors = [
        log.bounds().await.err(),
        log.ends().await.err(),
        log.channel(&name).await.err(),
        log.channels(None, 1).await.err(),
        log.append(event("2")).await.err(),
        log.locate(tidings_hub::Start::Earliest, scope).await.err(),
        log.read(0, 1, scope).await.err(),
        log.renew_epoch(&newest.epoch).await.err(),
        log.trim(1).await.err(),
        log.tail(&newest).next().await.unwrap().err(),
    ];
    for (n, error) in errors.into_iter().enumerate() {
        assert_eq!(error.unwrap().kind(), LogErrorKind::Lost, "{n}");
    }
}

#[tokio::test]
async fn a_close_that_is_dropped_closes_all_the_same() {
    let home = Home::new();
    let log = home.open();
    let appended = log.append(event("1"));
    let mut close = Box::pin(log.close());
    assert!(close.as_mut().now_or_never().is_none());
    drop(close);
    appended.await.unwrap();
    drop(log);
    let log = home.open();
    assert_eq!(log.bounds().await.unwrap().last.seq, 1);
}

#[tokio::test]
async fn a_store_that_was_dropped_is_opened_again_at_once_a_hundred_times() {
    let home = Home::new();
    for n in 1..=100 {
        let log = home.open();
        let appended = log.append(event("x")).await.unwrap();
        assert_eq!(appended.seq, n);
    }
}

#[tokio::test]
async fn last_words_of_a_producer_are_in_the_store_after_its_hub() {
    let home = Home::new();
    let log = home.open();
    let hub = Hub::over(log.clone());
    let first = publish(&hub, "answer", "1").await;
    let producer = hub.channel("answer").unwrap();
    let producer = producer.producer(Event::new("last words")).unwrap();
    within(producer.publish(Event::new("2"))).await.unwrap();
    drop(producer);
    within(hub.drain()).await;
    drop(hub);
    log.close().await.unwrap();
    let hub = Hub::over(home.open());
    let mut stream = super::resumed(&hub, "answer", &first).await;
    let received = super::texts(&mut stream, "last words").await;
    assert_eq!(received, ["2", "last words"]);
    assert!(
        within(stream.next()).await.is_none(),
        "the channel has ended"
    );
}
