//! Ends that the retention has removed: a client that asks for an answer that is over gets 204, as long as
//! the log remembers the end.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::future::poll_fn;
use std::time::Duration;

use tidings_hub::{
    Event, EventId, Feed, FeedOpened, Gap, GapReason, Hub, Log, MemoryLog, Position,
    PublishErrorKind, Retention, Subscription,
};
use tidings_testkit::timeout::timeout;
use tokio::time::sleep;

async fn publish(hub: &Hub, channel: &str, text: &str) -> Position {
    hub.publish(channel, Event::new(text)).await.unwrap()
}

/// Publishes 1 to 5 to the channel, ends it, and returns the positions of its events.
async fn answer(hub: &Hub, channel: &str) -> Vec<Position> {
    let mut positions = Vec::new();
    for n in 1..=5 {
        positions.push(publish(hub, channel, &n.to_string()).await);
    }
    hub.channel(channel).unwrap().end().await.unwrap();
    positions
}

/// Removes everything that was published, except an entry of another channel.
async fn trim_all(log: &MemoryLog, hub: &Hub) {
    let other = publish(hub, "other", "x").await;
    log.trim(other.seq);
}

fn resumed(mut subscription: Subscription, id: &str) -> Subscription {
    subscription.resume(Some(id));
    subscription
}

async fn open(subscription: &mut Subscription) -> FeedOpened {
    let opened = poll_fn(|cx| subscription.poll_open(cx));
    timeout(Duration::from_secs(60), opened)
        .await
        .unwrap()
        .unwrap()
}

/// The next events; `None` after the end of the stream.
async fn next(subscription: &mut Subscription) -> Option<Vec<Event>> {
    let events = poll_fn(|cx| subscription.poll_events(cx));
    let events = timeout(Duration::from_secs(60), events).await.unwrap()?;
    Some(events.unwrap().to_events())
}

/// The IDs of the next events, at least this many.
async fn ids(subscription: &mut Subscription, count: usize) -> Vec<EventId> {
    let mut ids = Vec::new();
    while ids.len() < count {
        let events = next(subscription).await.unwrap();
        ids.extend(events.into_iter().map(|event| event.id.unwrap()));
    }
    ids
}

/// The gap that is the only event of the next batch.
async fn gap(subscription: &mut Subscription) -> Gap {
    let events = next(subscription).await.unwrap();
    assert_eq!(events.len(), 1);
    Gap::from_event(&events[0]).unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_received_and_removed_is_over_on_each_node_and_after_a_restart() {
    let log = MemoryLog::default();
    let follows = Hub::over(log.clone());
    let positions = answer(&follows, "answer").await;
    let last = positions[4].to_string();
    let held = resumed(follows.subscribe("answer"), &last);
    assert_eq!(open(&mut { held }).await, FeedOpened::Over);
    trim_all(&log, &follows).await;
    for hub in [&follows, &Hub::over(log.clone())] {
        for subscription in [
            hub.subscribe("answer"),
            hub.subscribe("answer").last(5),
            hub.subscribe("answer").latest(),
        ] {
            let mut again = resumed(subscription, &last);
            assert_eq!(open(&mut again).await, FeedOpened::Over);
        }
        let mut new = hub.subscribe("answer");
        assert_eq!(open(&mut new).await, FeedOpened::Over);
        let error = hub.publish("answer", Event::new("6")).await.unwrap_err();
        assert_eq!(error.kind(), PublishErrorKind::Ended);
        let error = hub.channel("answer").unwrap().end().await.unwrap_err();
        assert_eq!(error.kind(), PublishErrorKind::Ended);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_in_the_middle_of_a_removed_answer_gets_a_gap_the_end_and_then_204() {
    let log = MemoryLog::default();
    let follows = Hub::over(log.clone());
    let positions = answer(&follows, "answer").await;
    trim_all(&log, &follows).await;
    for hub in [&follows, &Hub::over(log.clone())] {
        for (received, missed) in [(1, 4), (2, 3), (4, 1)] {
            let id = positions[received - 1].to_string();
            let mut back = resumed(hub.subscribe("answer"), &id);
            assert_eq!(open(&mut back).await, FeedOpened::Stream);
            let gap = gap(&mut back).await;
            assert_eq!(gap.reason, GapReason::Trimmed);
            assert_eq!(gap.missed, Some(missed));
            assert_eq!(gap.requested.as_deref(), Some(&*id));
            assert_eq!(next(&mut back).await, None);
            let mut again = resumed(hub.subscribe("answer"), &gap.resumed);
            assert_eq!(open(&mut again).await, FeedOpened::Over);
        }
        // A client that begins with the oldest event is told too.
        let mut new = hub.subscribe("answer").earliest();
        let gap = gap(&mut new).await;
        assert_eq!((gap.missed, gap.requested), (Some(5), None));
        assert_eq!(next(&mut new).await, None);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_whose_events_are_removed_in_part_delivers_the_rest_and_ends() {
    let log = MemoryLog::default();
    let hub = Hub::over(log.clone());
    let positions = answer(&hub, "answer").await;
    log.trim(4);
    let mut back = resumed(hub.subscribe("answer"), &positions[0].to_string());
    assert_eq!(gap(&mut back).await.missed, Some(2));
    let mut texts = Vec::new();
    while let Some(events) = next(&mut back).await {
        texts.extend(events.iter().map(|event| event.text().to_owned()));
    }
    assert_eq!(texts, ["4", "5"]);
    // The end alone is left.
    log.trim(6);
    let mut over = resumed(hub.subscribe("answer"), &positions[4].to_string());
    assert_eq!(open(&mut over).await, FeedOpened::Over);
}

#[tokio::test(start_paused = true)]
async fn a_new_epoch_forgets_no_end() {
    let log = MemoryLog::default();
    let follows = Hub::over(log.clone());
    let positions = answer(&follows, "answer").await;
    trim_all(&log, &follows).await;
    let epoch = log.bounds().await.unwrap().epoch;
    log.renew_epoch(&epoch).await.unwrap();
    // The hub notices.
    sleep(Duration::from_secs(20)).await;
    for hub in [&follows, &Hub::over(log.clone())] {
        let mut back = resumed(hub.subscribe("answer"), &positions[4].to_string());
        assert_eq!(open(&mut back).await, FeedOpened::Stream);
        let gap = gap(&mut back).await;
        assert_eq!((gap.reason, gap.missed), (GapReason::Epoch, None));
        assert_eq!(next(&mut back).await, None);
        let mut again = resumed(hub.subscribe("answer"), &gap.resumed);
        assert_eq!(open(&mut again).await, FeedOpened::Over);
        let error = hub.publish("answer", Event::new("6")).await.unwrap_err();
        assert_eq!(error.kind(), PublishErrorKind::Ended);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_open_while_its_end_is_removed_ends() {
    let log = MemoryLog::default();
    let hub = Hub::builder().tape_bytes(0).over(log.clone());
    let mut live = hub.subscribe("answer");
    assert_eq!(open(&mut live).await, FeedOpened::Stream);
    answer(&hub, "answer").await;
    trim_all(&log, &hub).await;
    let gap = gap(&mut live).await;
    assert_eq!((gap.reason, gap.missed), (GapReason::Slow, Some(5)));
    assert_eq!(next(&mut live).await, None);
}

#[tokio::test(start_paused = true)]
async fn the_oldest_end_is_forgotten_first_and_its_name_is_free() {
    let log = MemoryLog::new(Retention::in_memory().remembered_channels(2));
    let follows = Hub::over(log.clone());
    let mut answers = Vec::new();
    for name in ["answers/1", "answers/2", "answers/3"] {
        answers.push(answer(&follows, name).await);
    }
    trim_all(&log, &follows).await;
    let mut new = Vec::new();
    for hub in [&follows, &Hub::over(log.clone())] {
        for (name, answer) in [("answers/2", &answers[1]), ("answers/3", &answers[2])] {
            let mut over = resumed(hub.subscribe(name), &answer[4].to_string());
            assert_eq!(open(&mut over).await, FeedOpened::Over, "{name}");
        }
        let free = || hub.subscribe("answers/1");
        let has_all = || resumed(free(), &answers[0][4].to_string());
        let misses_four = || resumed(free(), &answers[0][0].to_string());
        let mut clients = [free(), has_all(), misses_four()];
        for client in &mut clients {
            assert_eq!(open(client).await, FeedOpened::Stream);
        }
        let id = publish(hub, "answers/1", "new").await;
        new.push(EventId::from(&id));
        let [free, has_all, misses_four] = &mut clients;
        assert_eq!(ids(free, 1).await, new[new.len() - 1..]);
        assert_eq!(ids(has_all, new.len()).await, new);
        let gap = gap(misses_four).await;
        assert_eq!((gap.reason, gap.missed), (GapReason::Trimmed, Some(4)));
        assert_eq!(ids(misses_four, new.len()).await, new);
    }
    // The new channel ends like the old one, and is over for its clients.
    let channel = follows.channel("answers/1").unwrap();
    let newest = publish(&follows, "answers/1", "newest").await;
    channel.end().await.unwrap();
    let mut over = resumed(channel.subscribe(), &newest.to_string());
    assert_eq!(open(&mut over).await, FeedOpened::Over);
}
