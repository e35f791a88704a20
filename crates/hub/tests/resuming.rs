//! Resuming from the last event IDs that clients send: mangled ones, foreign ones, and during a drain.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::error::Error as _;
use std::future::poll_fn;
use std::io;

use futures_util::FutureExt;
use tidings_hub::{
    Event, EventId, Feed, FeedErrorKind, FeedOpened, Gap, GapReason, Hub, MemoryLog, Position,
    SubscribeError, SubscribeErrorKind, Subscription,
};
use tokio::task::JoinHandle;

/// Publishes 1 to `count`, and returns their positions.
async fn publish(hub: &Hub, count: u64) -> Vec<Position> {
    let mut positions = Vec::new();
    for n in 1..=count {
        positions.push(
            hub.publish("news", Event::new(n.to_string()))
                .await
                .unwrap(),
        );
    }
    positions
}

fn resumed(mut subscription: Subscription, id: Option<&str>) -> Subscription {
    subscription.resume(id);
    subscription
}

/// Opens the subscription. An error is its kind, and the kind of the feed's error.
async fn open(
    subscription: &mut Subscription,
) -> Result<FeedOpened, (SubscribeErrorKind, FeedErrorKind)> {
    let opened = poll_fn(|cx| subscription.poll_open(cx)).await;
    opened.map_err(|error| {
        let source = error.source().unwrap().downcast_ref::<SubscribeError>();
        (source.unwrap().kind(), error.kind())
    })
}

/// All events until the subscription ends.
async fn events(mut subscription: Subscription) -> Vec<Event> {
    let mut events = Vec::new();
    while let Some(next) = poll_fn(|cx| subscription.poll_events(cx)).await {
        events.extend(next.unwrap().to_events());
    }
    events
}

fn texts(events: &[Event]) -> Vec<&str> {
    events.iter().map(Event::text).collect()
}

/// The next events of a subscription that has some.
async fn next(subscription: &mut Subscription) -> Vec<Event> {
    let events = poll_fn(|cx| subscription.poll_events(cx)).await;
    events.unwrap().unwrap().to_events()
}

#[tokio::test(start_paused = true)]
async fn a_gap_repeats_no_text_that_the_log_did_not_issue() {
    let log = MemoryLog::default();
    let hub = Hub::over(log.clone());
    let positions = publish(&hub, 5).await;
    log.trim(4);
    let epoch = positions[0].epoch.as_str();
    let trimmed = positions[0].to_string();
    for (id, reason, requested) in [
        (&*trimmed, GapReason::Trimmed, Some(&*trimmed)),
        (
            &*format!("x, {trimmed}"),
            GapReason::Trimmed,
            Some(&*trimmed),
        ),
        ("4829", GapReason::UnknownId, None),
        ("pin-4829.2.AAAA", GapReason::Epoch, None),
        (&*format!("{epoch}.5.4829"), GapReason::Epoch, None),
        (
            &*format!("{epoch}.482913075512.AAAA"),
            GapReason::Future,
            None,
        ),
    ] {
        let mut subscription = resumed(hub.subscribe("news"), Some(id));
        let gap = Gap::from_event(&next(&mut subscription).await[0]).unwrap();
        assert_eq!(
            (gap.reason, gap.requested.as_deref()),
            (reason, requested),
            "{id}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_of_several_joined_ids_counts_if_the_whole_is_no_position() {
    let hub = Hub::in_memory();
    let positions = publish(&hub, 3).await;
    let [first, second] = [0, 1].map(|n| positions[n].to_string());
    for (id, expected) in [
        (first.clone(), Some(2)),
        (format!("17, {first}"), Some(2)),
        (format!("{second}, {first}"), Some(2)),
        (format!("{first},{second}"), Some(1)),
        (format!("a,b,\t {first}\t "), Some(2)),
        (format!("{first}, "), Some(2)),
        (format!(" {first}"), Some(2)),
        (format!("{first}, 17"), None),
        (format!("{first} {second}"), None),
        (", ,".into(), None),
    ] {
        let mut subscription = resumed(hub.subscribe("news"), Some(&id));
        let events = next(&mut subscription).await;
        let gap = Gap::from_event(&events[0]).map(|gap| gap.reason);
        match expected {
            Some(count) => assert_eq!((events.len(), gap), (count, None), "{id:?}"),
            None => assert_eq!(gap, Some(GapReason::UnknownId), "{id:?}"),
        }
    }
}

/// A hub whose drain waits for a publication, and the drain.
async fn draining(hub: &Hub) -> JoinHandle<()> {
    let hub = hub.clone();
    let drain = tokio::spawn(async move { hub.drain().await });
    tokio::task::yield_now().await;
    drain
}

#[tokio::test(start_paused = true)]
async fn a_drained_hub_serves_what_its_log_holds_and_then_ends() {
    let log = MemoryLog::default();
    let hub = Hub::over(log.clone());
    let positions = publish(&hub, 5).await;
    draining(&hub).await.await.unwrap();
    let refused = Err((SubscribeErrorKind::Draining, FeedErrorKind::Unavailable));
    let [first, last] = [0, 4].map(|n| positions[n].to_string());

    let rest = resumed(hub.subscribe("news"), Some(&first));
    assert_eq!(texts(&events(rest).await), ["2", "3", "4", "5"]);
    let all = hub.subscribe("news").earliest();
    assert_eq!(texts(&events(all).await), ["1", "2", "3", "4", "5"]);
    // Nothing is left.
    let mut whole = resumed(hub.subscribe("news"), Some(&last));
    assert_eq!(open(&mut whole).await, refused);
    let mut other = resumed(hub.subscribe("else"), Some(&first));
    assert_eq!(open(&mut other).await, refused);
    assert_eq!(open(&mut hub.subscribe("news")).await, refused);
    // The client keeps its ID, and is told of the loss by the next hub.
    let mut unknown = resumed(hub.subscribe("news"), Some("17"));
    assert_eq!(open(&mut unknown).await, refused);
    let snapshot = || async { panic!("it is not made") as Result<[Event; 0], io::Error> };
    for id in [None, Some("17")] {
        let subscription = hub.subscribe("news").snapshot(snapshot);
        assert_eq!(open(&mut resumed(subscription, id)).await, refused);
    }

    log.trim(4);
    let trimmed = events(resumed(hub.subscribe("news"), Some(&first))).await;
    assert_eq!(Gap::from_event(&trimmed[0]).unwrap().missed, Some(2));
    assert_eq!(texts(&trimmed[1..]), ["4", "5"]);
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_waits_for_a_publisher_serves_the_log_meanwhile() {
    let hub = Hub::in_memory();
    let positions = publish(&hub, 2).await;
    let producer = hub.channel("news").unwrap().producer(Event::new("cut"));
    let mut late = Box::pin(producer.unwrap().finish());
    assert!((&mut late).now_or_never().is_none());
    let drain = draining(&hub).await;
    let mut rest = resumed(hub.subscribe("news"), Some(&positions[0].to_string()));
    assert_eq!(open(&mut rest).await, Ok(FeedOpened::Stream));
    assert_eq!(texts(&next(&mut rest).await), ["2"]);
    late.await.unwrap();
    drain.await.unwrap();
    assert!(events(rest).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_is_over_is_over_during_a_drain_too() {
    let hub = Hub::in_memory();
    let positions = publish(&hub, 2).await;
    hub.channel("news").unwrap().end().await.unwrap();
    draining(&hub).await.await.unwrap();
    let [first, last] = [0, 1].map(|n| EventId::from(&positions[n]));
    let mut over = resumed(hub.subscribe("news"), Some(&last));
    assert_eq!(open(&mut over).await, Ok(FeedOpened::Over));
    let mut rest = resumed(hub.subscribe("news"), Some(&first));
    assert_eq!(open(&mut rest).await, Ok(FeedOpened::Stream));
    assert_eq!(texts(&events(rest).await), ["2"]);
}
