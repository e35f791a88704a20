//! What users of a hub see of it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::time::Duration;

use futures_util::FutureExt;
use tidings_hub::{
    ChannelName, Draft, EntryKind, Error, Grant, Hub, Log, MemoryLog, Retention, SlowReader,
    Subscription,
};
use tidings_proto::{Event, EventName, Feed, Gap, GapReason, Opened};
use tokio::time::timeout;

async fn next(subscription: &mut Subscription) -> Option<Vec<Event>> {
    let events = timeout(Duration::from_secs(5), subscription.next())
        .await
        .expect("in time")?;
    Some(events.unwrap().to_events())
}

/// All that there is now.
async fn texts(subscription: &mut Subscription) -> Vec<String> {
    let mut texts = Vec::new();
    loop {
        tokio::task::yield_now().await;
        let Ok(Some(events)) = timeout(Duration::from_millis(50), subscription.next()).await else {
            return texts;
        };
        let decoded = events.unwrap().to_events();
        texts.extend(decoded.into_iter().map(|event| match event.event_type() {
            "message" => event.data.unwrap(),
            name => format!("{name} {}", event.text()),
        }));
    }
}

fn event(text: &str) -> Event {
    Event::new(text)
}

#[tokio::test(start_paused = true)]
async fn every_subscriber_of_a_channel_hears_what_is_published() {
    let hub = Hub::in_memory();
    let mut first = hub.subscribe("news");
    let mut second = hub.subscribe("news");
    let mut other = hub.subscribe("else");
    for n in 0..3 {
        hub.publish("news", event(&n.to_string())).await.unwrap();
    }
    assert_eq!(texts(&mut first).await, ["0", "1", "2"]);
    assert_eq!(texts(&mut second).await, ["0", "1", "2"]);
    assert_eq!(texts(&mut other).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_goes_on_where_it_left_off() {
    let hub = Hub::in_memory();
    let mut ids = Vec::new();
    for n in 0..5 {
        let position = hub.publish("news", event(&n.to_string())).await.unwrap();
        ids.push(position.to_string());
        hub.publish("else", event("x")).await.unwrap();
    }
    for (n, id) in ids.iter().enumerate() {
        let mut subscription = hub.subscribe("news");
        subscription.resume(Some(id));
        let expected: Vec<_> = (n + 1..5).map(|n| n.to_string()).collect();
        assert_eq!(texts(&mut subscription).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn several_channels_are_heard_in_one_order() {
    let hub = Hub::in_memory();
    let mut subscription = hub.subscribe_all(["a", "b/*", "b/1"]);
    for n in 0..10 {
        let channel = ["a", "b/1", "b/2", "c"][n % 4];
        hub.publish(channel, event(&n.to_string())).await.unwrap();
    }
    let expected = ["0", "1", "2", "4", "5", "6", "8", "9"];
    assert_eq!(texts(&mut subscription).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_has_ended_is_over() {
    let hub = Hub::in_memory();
    let channel = hub.channel("answer").unwrap();
    let mut live = channel.subscribe();
    let first = channel.publish(event("a")).await.unwrap();
    let last = channel.publish(event("b")).await.unwrap();
    channel.end().await.unwrap();
    assert!(matches!(
        channel.publish(event("c")).await,
        Err(Error::Ended)
    ));
    assert!(matches!(channel.end().await, Err(Error::Ended)));
    assert_eq!(next(&mut live).await.unwrap().len(), 2);
    assert!(next(&mut live).await.is_none());

    let open = async |mut subscription: Subscription, id: Option<String>| {
        subscription.resume(id.as_deref());
        std::future::poll_fn(|cx| subscription.poll_open(cx))
            .await
            .unwrap()
    };
    assert_eq!(
        open(channel.subscribe(), Some(first.to_string())).await,
        Opened::Stream
    );
    assert_eq!(
        open(channel.subscribe(), Some(last.to_string())).await,
        Opened::Over
    );
    assert_eq!(open(channel.subscribe(), None).await, Opened::Over);
    assert_eq!(
        open(channel.subscribe().earliest(), None).await,
        Opened::Stream
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_producer_leaves_unfinished_ends_with_its_last_words() {
    let hub = Hub::in_memory();
    let channel = hub.channel("answer").unwrap();
    let mut reader = channel.subscribe();
    assert_eq!(texts(&mut reader).await, [""; 0]);
    let words = event("cut").event(EventName::from_static("failed"));
    let producer = channel.producer(words).unwrap();
    producer.publish(event("a")).await.unwrap();
    drop(producer);
    hub.drain().await;
    assert_eq!(texts(&mut reader).await, ["a", "failed cut"]);
    assert!(next(&mut reader).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_loss_is_told_before_all_else() {
    let hub = Hub::builder().in_memory(Retention::in_memory().max_events(3));
    let mut ids = Vec::new();
    for n in 0..6 {
        ids.push(
            hub.publish("news", event(&n.to_string()))
                .await
                .unwrap()
                .to_string(),
        );
    }
    let heard = async |id: &str| {
        let mut subscription = hub.subscribe("news");
        subscription.resume(Some(id));
        let events = next(&mut subscription).await.unwrap();
        let gap = Gap::from_event(&events[0]).unwrap();
        assert_eq!(gap.requested.as_deref(), Some(id));
        assert_eq!(events[0].id.as_ref().unwrap(), gap.resumed.as_str());
        (
            gap.reason,
            gap.missed,
            gap.resumed,
            texts(&mut subscription).await,
        )
    };
    let (latest, oldest) = (ids[5].clone(), ids[2].clone());
    let trimmed = heard(&ids[0]).await;
    assert_eq!(trimmed.0, GapReason::Trimmed);
    assert_eq!((trimmed.1, trimmed.2), (Some(2), oldest));
    assert_eq!(trimmed.3, ["3", "4", "5"]);
    let epoch = ids[5].split('.').next().unwrap();
    for (id, reason) in [
        ("17", GapReason::UnknownId),
        ("x.4.AAAA", GapReason::Epoch),
        (&*format!("{epoch}.7.AAAA"), GapReason::Future),
        (&*format!("{epoch}.5.AAAA"), GapReason::Epoch),
    ] {
        assert_eq!(heard(id).await, (reason, None, latest.clone(), vec![]));
    }
    // The one just before the oldest resumes whole.
    let mut subscription = hub.subscribe("news");
    subscription.resume(Some(&ids[2]));
    assert_eq!(texts(&mut subscription).await, ["3", "4", "5"]);
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_is_lost_ends_what_was_subscribed_under_it() {
    let hub = Hub::in_memory();
    let grant = Grant::new(["a/*"])
        .unwrap()
        .expires_in(Duration::from_secs(60));
    let mut allowed = hub.subscribe("a/b").grant(&grant);
    let mut refused = hub.subscribe_all(["a/b", "b"]).grant(&grant);
    assert!(refused.next().await.unwrap().is_err());
    hub.publish("a/b", event("x")).await.unwrap();
    assert_eq!(texts(&mut allowed).await, ["x"]);
    tokio::time::advance(Duration::from_secs(61)).await;
    assert_eq!(
        texts(&mut allowed).await,
        ["closed {\"reason\":\"expired\"}"]
    );
    assert!(next(&mut allowed).await.is_none());
    let grant = Grant::new(["a/*"]).unwrap();
    let mut allowed = hub.subscribe("a/b").grant(&grant);
    grant.revoke();
    assert!(
        hub.subscribe("a/b")
            .grant(&grant)
            .next()
            .await
            .unwrap()
            .is_err()
    );
    assert!(allowed.next().await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_quiet_channel_has_checkpoints() {
    let hub = Hub::in_memory();
    let mut quiet = hub.subscribe("quiet");
    assert_eq!(texts(&mut quiet).await, [""; 0]);
    let begin = quiet.checkpoint().unwrap();
    assert!(begin.contains(".0."));
    let loud = hub.publish("loud", event("x")).await.unwrap();
    assert_eq!(quiet.checkpoint().unwrap(), &*loud.to_string());
    assert_eq!(quiet.checkpoint(), None);
    hub.publish("quiet", event("x")).await.unwrap();
    assert_eq!(quiet.checkpoint(), None);
    assert_eq!(texts(&mut quiet).await, ["x"]);
    assert_eq!(quiet.checkpoint(), None);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_comes_before_what_is_newer() {
    let hub = Hub::in_memory();
    hub.publish("state", event("old")).await.unwrap();
    let snapshot = || async { Ok::<_, Error>([event("1"), event("2")]) };
    let mut fresh = hub.subscribe("state").snapshot(snapshot);
    let events = next(&mut fresh).await.unwrap();
    assert_eq!(events[0].id, None);
    let id = events[1].id.clone().unwrap();
    hub.publish("state", event("3")).await.unwrap();
    assert_eq!(texts(&mut fresh).await, ["3"]);
    let mut back = hub.subscribe("state").snapshot(snapshot);
    back.resume(Some(&id));
    assert_eq!(texts(&mut back).await, ["3"]);
    let mut lost = hub.subscribe("state").snapshot(snapshot);
    lost.resume(Some("17"));
    let gap = next(&mut lost).await.unwrap();
    let nothing = gap[0].id.clone().unwrap();
    assert_eq!(texts(&mut lost).await, ["1", "2"]);
    // Cut between the two, it hears the snapshot.
    let mut cut = hub.subscribe("state").snapshot(snapshot);
    cut.resume(Some(&nothing));
    assert_eq!(texts(&mut cut).await, ["1", "2"]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_is_told_or_sent_away_or_hears_the_latest() {
    let hub = Hub::in_memory();
    let mut told = hub.subscribe("prices").max_lag(3);
    let mut away = hub
        .subscribe("prices")
        .max_lag(3)
        .slow_reader(SlowReader::disconnect());
    let by_name = |event: &Event| event.event.as_ref().map(ToString::to_string);
    let latest = SlowReader::latest_by(by_name);
    let mut latest = hub.subscribe("prices").max_lag(3).slow_reader(latest);
    for subscription in [&mut told, &mut away, &mut latest] {
        std::future::poll_fn(|cx| subscription.poll_open(cx))
            .await
            .unwrap();
    }
    for n in 0..8_u32 {
        let name = EventName::new(format!("share{}", n % 2)).unwrap();
        hub.publish("prices", event(&n.to_string()).event(name))
            .await
            .unwrap();
    }
    let gap = Gap::from_event(&next(&mut told).await.unwrap()[0]).unwrap();
    assert_eq!(
        (gap.reason, gap.missed, gap.requested),
        (GapReason::Slow, Some(5), None)
    );
    assert_eq!(texts(&mut told).await, ["share1 5", "share0 6", "share1 7"]);
    assert!(next(&mut away).await.is_none());
    let gap = Gap::from_event(&next(&mut latest).await.unwrap()[0]).unwrap();
    assert_eq!((gap.reason, gap.missed), (GapReason::Slow, Some(6)));
    assert_eq!(texts(&mut latest).await, ["share0 6", "share1 7"]);
}

#[tokio::test(start_paused = true)]
async fn a_repeat_under_a_key_answers_with_the_first_position() {
    let hub = Hub::in_memory();
    let first = hub.publish("news", event("x")).key("1").await.unwrap();
    assert_eq!(
        hub.publish("news", event("x")).key("1").await.unwrap(),
        first
    );
    assert_ne!(
        hub.publish("else", event("x")).key("1").await.unwrap(),
        first
    );
    assert!(matches!(
        hub.publish("news", event("x")).key("").await,
        Err(Error::InvalidKey)
    ));
}

#[test]
fn a_hub_outlives_the_runtime_it_was_first_used_in() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let hub = Hub::in_memory();
    let first = runtime().block_on(async { hub.publish("news", event("1")).await.unwrap() });
    runtime().block_on(async {
        let mut subscription = hub.subscribe("news");
        subscription.resume(Some(&first.to_string()));
        let second = hub.publish("news", event("2")).await.unwrap();
        assert!(first < second);
        assert_eq!(texts(&mut subscription).await, ["2"]);
    });
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_hears_that_the_log_fell_back() {
    let log = std::sync::Arc::new(MemoryLog::new(Retention::in_memory()));
    let hub = Hub::over(std::sync::Arc::clone(&log));
    let mut subscription = hub.subscribe("news");
    for n in 0..4 {
        hub.publish("news", event(&n.to_string())).await.unwrap();
    }
    assert_eq!(texts(&mut subscription).await, ["0", "1", "2", "3"]);
    log.rewind(2);
    tokio::time::sleep(Duration::from_secs(20)).await;
    let gap = Gap::from_event(&next(&mut subscription).await.unwrap()[0]).unwrap();
    assert_eq!(
        (gap.reason, gap.missed, gap.requested),
        (GapReason::Epoch, None, None)
    );
    hub.publish("news", event("4")).await.unwrap();
    assert_eq!(texts(&mut subscription).await, ["4"]);
}

#[tokio::test(start_paused = true)]
async fn a_pattern_is_no_name_that_a_client_may_choose() {
    let hub = Hub::in_memory();
    let mut all = hub.subscribe("rooms/*");
    assert!(all.next().await.unwrap().is_err());
    assert!(matches!(hub.channel("rooms/*"), Err(Error::Name(_))));
}

/// As another node appends.
async fn append(log: &MemoryLog, channel: &str, text: &str) {
    let draft = Draft {
        channel: ChannelName::new(channel).unwrap(),
        kind: EntryKind::Event,
        body: event(text).encode().into_bytes(),
        key: None,
    };
    log.append(draft).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_publisher_whose_log_falls_back_is_not_told_the_place_of_another() {
    let log = MemoryLog::default();
    let hub = Hub::over(log.clone());
    for n in 0..5 {
        hub.publish("news", event(&n.to_string())).await.unwrap();
    }
    // What it appends stands where something was.
    log.rewind(3);
    let published = hub.publish("news", event("x")).await;
    assert!(
        matches!(published, Err(Error::Unconfirmed)),
        "{published:?}"
    );
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = hub.publish("news", event("y")).await.unwrap();
    // Something else comes to stand where it was.
    let mut published = Box::pin(hub.publish("news", event("z")));
    assert!((&mut published).now_or_never().is_none());
    log.rewind(before.seq);
    append(&log, "news", "other").await;
    let published = published.await;
    assert!(
        matches!(published, Err(Error::Unconfirmed)),
        "{published:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_publisher_whose_event_is_lost_on_its_way_is_told() {
    let log = MemoryLog::default();
    let hub = Hub::over(log.clone());
    hub.publish("news", event("0")).await.unwrap();
    let mut published = Box::pin(hub.publish("news", event("1")));
    assert!((&mut published).now_or_never().is_none());
    log.rewind(1);
    let published = timeout(Duration::from_secs(20), published).await.unwrap();
    assert!(
        matches!(published, Err(Error::Unconfirmed)),
        "{published:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn nobody_is_told_that_it_is_over_by_an_end_that_the_log_has_lost() {
    let log = MemoryLog::default();
    let hub = Hub::over(log.clone());
    let channel = hub.channel("answer").unwrap();
    let last = channel.publish(event("a")).await.unwrap();
    channel.end().await.unwrap();
    log.rewind(1);
    append(&log, "else", "x").await;
    append(&log, "answer", "b").await;
    let mut back = channel.subscribe().earliest();
    back.resume(Some(&last.to_string()));
    let opened = std::future::poll_fn(|cx| back.poll_open(cx)).await.unwrap();
    assert_eq!(opened, Opened::Stream);
    let heard = texts(&mut back).await;
    assert!(heard[0].starts_with("gap "), "{heard:?}");
    assert_eq!(heard[1..], ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_of_an_empty_log_is_made_once() {
    let hub = Hub::in_memory();
    let subscribe = || {
        hub.subscribe("state")
            .snapshot(|| async { Ok::<_, Error>([event("1"), event("2")]) })
    };
    let events = next(&mut subscribe()).await.unwrap();
    let id = events[1].id.clone().unwrap();
    let mut back = subscribe();
    back.resume(Some(&id));
    assert_eq!(texts(&mut back).await, [""; 0]);
}
