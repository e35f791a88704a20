//! The public behaviour of a hub: publishing, subscribing, resuming, grants and slow readers.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::error::Error as _;
use std::future::poll_fn;
use std::io;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use tidings_hub::{
    ChannelName, Draft, EncodedEvents, Event, EventId, EventName, Feed, FeedError, FeedErrorKind,
    FeedOpened, Gap, GapReason, Grant, Hub, Log, MemoryLog, PublishErrorKind, Retention,
    SlowReader, SubscribeError, SubscribeErrorKind, Subscription,
};
use tidings_testkit::timeout::timeout;

async fn next_batch(subscription: &mut Subscription) -> Option<Result<EncodedEvents, FeedError>> {
    let events = poll_fn(|cx| subscription.poll_events(cx));
    timeout(Duration::from_secs(5), events)
        .await
        .expect("in time")
}

async fn next(subscription: &mut Subscription) -> Option<Vec<Event>> {
    let events = next_batch(subscription).await?;
    Some(events.unwrap().to_events())
}

/// The kind of the error that the subscription fails with, and the kind of the feed's error.
async fn refusal(mut subscription: Subscription) -> (SubscribeErrorKind, FeedErrorKind) {
    let error = next_batch(&mut subscription).await.unwrap().unwrap_err();
    let source = error.source().unwrap().downcast_ref::<SubscribeError>();
    (source.unwrap().kind(), error.kind())
}

/// The texts of all events that are available now.
async fn texts(subscription: &mut Subscription) -> Vec<String> {
    let mut texts = Vec::new();
    loop {
        tokio::task::yield_now().await;
        let events = poll_fn(|cx| subscription.poll_events(cx));
        let Ok(Some(events)) = timeout(Duration::from_millis(50), events).await else {
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
async fn every_subscriber_of_a_channel_receives_every_event() {
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
async fn a_client_resumes_after_its_last_event_id() {
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
async fn several_channels_are_delivered_in_one_order() {
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
async fn a_receipt_distinguishes_a_repeat_of_a_key_from_the_first_publication() {
    let hub = Hub::in_memory();
    let publish = |channel, key: Option<&str>| {
        let publish = hub.publish(channel, event("a"));
        match key {
            Some(key) => publish.key(key),
            None => publish,
        }
    };
    let first = publish("news", Some("k")).receipt().await.unwrap();
    assert!(!first.is_repeat);
    let repeat = publish("news", Some("k")).receipt().await.unwrap();
    assert!(repeat.is_repeat);
    assert_eq!(repeat.position, first.position);
    assert_eq!(publish("news", Some("k")).await.unwrap(), first.position);
    for (channel, key) in [("else", Some("k")), ("news", Some("l")), ("news", None)] {
        let other = publish(channel, key).receipt().await.unwrap();
        assert!(
            !other.is_repeat && other.position > first.position,
            "{other:?}"
        );
    }
    // Two publications at once: the second is the repeat, even if it ends first.
    let both = futures_util::future::join(
        publish("news", Some("m")).receipt(),
        publish("news", Some("m")).receipt(),
    );
    let (one, two) = both.await;
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(one.position, two.position);
    assert!(!one.is_repeat && two.is_repeat, "{one:?}, {two:?}");
    // After the end, a repeat still has the first position.
    hub.channel("news").unwrap().end().await.unwrap();
    let late = publish("news", Some("k")).receipt().await.unwrap();
    assert_eq!(late, repeat);
    let refused = publish("news", Some("n")).receipt().await.unwrap_err();
    assert_eq!(refused.kind(), PublishErrorKind::Ended);
}

#[tokio::test(start_paused = true)]
async fn an_ended_channel_refuses_events_and_ends_its_streams() {
    let hub = Hub::in_memory();
    let channel = hub.channel("answer").unwrap();
    let mut live = channel.subscribe();
    let first = channel.publish(event("a")).await.unwrap();
    let last = channel.publish(event("b")).await.unwrap();
    channel.end().await.unwrap();
    let refused = channel.publish(event("c")).await.unwrap_err();
    assert_eq!(refused.kind(), PublishErrorKind::Ended);
    let refused = channel.end().await.unwrap_err();
    assert_eq!(refused.kind(), PublishErrorKind::Ended);
    assert_eq!(next(&mut live).await.unwrap().len(), 2);
    assert!(next(&mut live).await.is_none());

    let open = async |mut subscription: Subscription, id: Option<String>| {
        subscription.resume(id.as_deref());
        poll_fn(|cx| subscription.poll_open(cx)).await.unwrap()
    };
    assert_eq!(
        open(channel.subscribe(), Some(first.to_string())).await,
        FeedOpened::Stream
    );
    assert_eq!(
        open(channel.subscribe(), Some(last.to_string())).await,
        FeedOpened::Over
    );
    assert_eq!(open(channel.subscribe(), None).await, FeedOpened::Over);
    assert_eq!(
        open(channel.subscribe().earliest(), None).await,
        FeedOpened::Stream
    );
}

#[tokio::test(start_paused = true)]
async fn a_dropped_producer_publishes_its_last_words_and_ends_the_channel() {
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
async fn a_gap_is_the_first_event_after_a_loss() {
    let hub = Hub::builder().in_memory(Retention::in_memory().max_events(Some(3)));
    let mut ids = Vec::new();
    for n in 0..6 {
        ids.push(
            hub.publish("news", event(&n.to_string()))
                .await
                .unwrap()
                .to_string(),
        );
    }
    let resume = async |id: &str| {
        let mut subscription = hub.subscribe("news");
        subscription.resume(Some(id));
        let events = next(&mut subscription).await.unwrap();
        let gap = Gap::from_event(&events[0]).unwrap();
        let is_trimmed = gap.reason == GapReason::Trimmed;
        assert_eq!(gap.requested.as_deref(), is_trimmed.then_some(id));
        assert_eq!(events[0].id.as_ref().unwrap(), gap.resumed.as_str());
        (
            gap.reason,
            gap.missed,
            gap.resumed,
            texts(&mut subscription).await,
        )
    };
    let (latest, oldest) = (ids[5].clone(), ids[2].clone());
    let trimmed = resume(&ids[0]).await;
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
        assert_eq!(resume(id).await, (reason, None, latest.clone(), vec![]));
    }
    // The ID just before the oldest event resumes without a gap.
    let mut subscription = hub.subscribe("news");
    subscription.resume(Some(&ids[2]));
    assert_eq!(texts(&mut subscription).await, ["3", "4", "5"]);
}

#[tokio::test(start_paused = true)]
async fn a_lapsed_grant_ends_its_subscriptions() {
    let hub = Hub::in_memory();
    let grant = Grant::new(["a/*"])
        .unwrap()
        .expires_in(Duration::from_secs(60));
    let mut allowed = hub.subscribe("a/b").grant(&grant);
    let refused = hub.subscribe_all(["a/b", "b"]).grant(&grant);
    let forbidden = (SubscribeErrorKind::Forbidden, FeedErrorKind::Forbidden);
    assert_eq!(refusal(refused).await, forbidden);
    hub.publish("a/b", event("x")).await.unwrap();
    assert_eq!(texts(&mut allowed).await, ["x"]);
    tokio::time::advance(Duration::from_secs(61)).await;
    assert_eq!(
        texts(&mut allowed).await,
        ["closed {\"reason\":\"expired\"}"]
    );
    assert!(next(&mut allowed).await.is_none());
    let grant = Grant::new(["a/*"]).unwrap();
    let before = hub.subscribe("a/b").grant(&grant);
    grant.revoke();
    let after = hub.subscribe("a/b").grant(&grant);
    assert_eq!(refusal(before).await, forbidden);
    assert_eq!(refusal(after).await, forbidden);
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
async fn a_snapshot_precedes_newer_events() {
    let hub = Hub::in_memory();
    hub.publish("state", event("old")).await.unwrap();
    let snapshot = || async { Ok::<_, io::Error>([event("1"), event("2")]) };
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
    // A client that is cut between the gap and the snapshot receives the snapshot when it resumes.
    let mut cut = hub.subscribe("state").snapshot(snapshot);
    cut.resume(Some(&nothing));
    assert_eq!(texts(&mut cut).await, ["1", "2"]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_gets_a_gap_is_disconnected_or_gets_the_latest_events() {
    let hub = Hub::in_memory();
    let mut skips = hub.subscribe("prices").max_lag(3);
    let mut disconnects = hub
        .subscribe("prices")
        .max_lag(3)
        .slow_reader(SlowReader::disconnect());
    let by_name = |event: &Event| event.event.as_ref().map(ToString::to_string);
    let latest = SlowReader::latest_by(by_name);
    let mut latest = hub.subscribe("prices").max_lag(3).slow_reader(latest);
    for subscription in [&mut skips, &mut disconnects, &mut latest] {
        poll_fn(|cx| subscription.poll_open(cx)).await.unwrap();
    }
    for n in 0..8_u32 {
        let name = EventName::new(format!("share{}", n % 2)).unwrap();
        hub.publish("prices", event(&n.to_string()).event(name))
            .await
            .unwrap();
    }
    let gap = Gap::from_event(&next(&mut skips).await.unwrap()[0]).unwrap();
    assert_eq!(
        (gap.reason, gap.missed, gap.requested),
        (GapReason::Slow, Some(5), None)
    );
    assert_eq!(
        texts(&mut skips).await,
        ["share1 5", "share0 6", "share1 7"]
    );
    assert!(next(&mut disconnects).await.is_none());
    let gap = Gap::from_event(&next(&mut latest).await.unwrap()[0]).unwrap();
    assert_eq!((gap.reason, gap.missed), (GapReason::Slow, Some(6)));
    assert_eq!(texts(&mut latest).await, ["share0 6", "share1 7"]);
}

#[tokio::test(start_paused = true)]
async fn a_repeat_under_a_key_returns_the_first_position() {
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
    for key in [String::new(), "k".repeat(256)] {
        let refused = hub.publish("news", event("x")).key(key).await.unwrap_err();
        assert_eq!(refused.kind(), PublishErrorKind::InvalidKey);
    }
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
async fn a_subscriber_gets_a_gap_when_the_log_loses_entries() {
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
async fn subscribe_refuses_patterns() {
    let hub = Hub::in_memory();
    let refused = refusal(hub.subscribe("rooms/*")).await;
    let expected = (
        SubscribeErrorKind::InvalidChannelName,
        FeedErrorKind::Invalid,
    );
    assert_eq!(refused, expected);
    let refused = hub.channel("rooms/*").unwrap_err().to_string();
    let expected = r#""rooms/*" is a pattern, not a channel name; subscribe_all takes patterns"#;
    assert_eq!(refused, expected);
    let refused = refusal(hub.subscribe_all(["rooms/*/42"])).await;
    let expected = (SubscribeErrorKind::InvalidPattern, FeedErrorKind::Invalid);
    assert_eq!(refused, expected);
}

#[tokio::test(start_paused = true)]
async fn each_level_of_a_feed_error_adds_a_fact() {
    let hub = Hub::in_memory();
    for (mut subscription, expected) in [
        (
            hub.subscribe("metrics/*"),
            [
                "the request for the feed is invalid",
                r#"the channel name "metrics/*" is not valid"#,
                r#""metrics/*" is a pattern, not a channel name; subscribe_all takes patterns"#,
            ],
        ),
        (
            hub.subscribe_all(["*"]),
            [
                "the request for the feed is invalid",
                r#"the pattern "*" is not valid"#,
                r#"pattern "*": the character at byte 0 is not one of A-Z a-z 0-9 _ - . ~ : /"#,
            ],
        ),
        (
            hub.subscribe(""),
            [
                "the request for the feed is invalid",
                "the channel name is not valid",
                "a channel name must not be empty",
            ],
        ),
    ] {
        let error = next_batch(&mut subscription).await.unwrap().unwrap_err();
        let first: &dyn std::error::Error = &error;
        let chain = std::iter::successors(Some(first), |&error| error.source());
        let chain: Vec<String> = chain.map(ToString::to_string).collect();
        assert_eq!(chain, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_names_the_broken_rule() {
    let hub = Hub::builder()
        .max_event_bytes(10)
        .in_memory(Retention::in_memory());
    let too_many = hub.subscribe_all((0..70).map(|n| n.to_string()));
    let error = too_many
        .resume_after(None)
        .next()
        .await
        .unwrap()
        .unwrap_err();
    let expected = "a subscription needs 1 to 64 channels, not 70";
    assert_eq!(error.to_string(), expected);

    let gap = event("x").event(EventName::from_static("gap"));
    for (event, kind, expected) in [
        (
            event("12345"),
            PublishErrorKind::TooLarge,
            "the event has 13 bytes, but the hub accepts at most 10",
        ),
        (
            Event::default(),
            PublishErrorKind::NoData,
            "an event needs data to be published",
        ),
        (
            gap,
            PublishErrorKind::ReservedName,
            "the event name gap is reserved for the hub",
        ),
    ] {
        let error = hub.publish("a", event).await.unwrap_err();
        assert_eq!((error.kind(), &*error.to_string()), (kind, expected));
    }
    let error = hub.publish("a//b", event("x")).await.unwrap_err();
    assert_eq!(error.kind(), PublishErrorKind::InvalidChannelName);
    assert_eq!(error.to_string(), r#"the channel name "a//b" is not valid"#);
    let source = error.source().unwrap().to_string();
    let expected = r#"channel name "a//b": the segment at byte 2 is empty"#;
    assert_eq!(source, expected);
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_an_id_delivers_events_published_before_its_first_poll() {
    let hub = Hub::in_memory();
    hub.publish("news", event("before")).await.unwrap();
    let subscription = hub.subscribe("news");
    hub.publish("news", event("0")).await.unwrap();
    let mut stream = subscription.resume_after(None);
    hub.publish("news", event("1")).await.unwrap();
    let events = stream.next().await.unwrap().unwrap().to_events();
    let texts: Vec<_> = events.iter().map(Event::text).collect();
    assert_eq!(texts, ["0", "1"]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_resumes_after_any_of_its_ids_and_misses_nothing() {
    const COUNT: usize = 20;
    let hub = Hub::in_memory();
    let channel = hub.channel("news").unwrap();
    let mut last: Option<EventId> = None;
    for n in 0..COUNT {
        // Published while no stream is open.
        channel.publish(event(&n.to_string())).await.unwrap();
        let subscription = channel.subscribe().earliest();
        let mut stream = subscription.resume_after(last.as_ref());
        let events = stream.next().await.unwrap().unwrap().to_events();
        let [event] = &events[..] else {
            panic!("{events:?}");
        };
        assert_eq!(event.text(), n.to_string());
        last.clone_from(&event.id);
    }
    channel.end().await.unwrap();
    let all = channel.subscribe().earliest().resume_after(None);
    let counts: Vec<_> = all.map(|events| events.unwrap().count()).collect().await;
    assert_eq!(counts.iter().sum::<usize>(), COUNT);
}

/// Appends an event as another node does.
async fn append(log: &MemoryLog, channel: &str, text: &str) {
    let channel = ChannelName::new(channel).unwrap();
    let draft = Draft::event(channel, event(text).encode().into_bytes());
    log.append(draft).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_publisher_never_gets_the_position_of_another_event() {
    let log = MemoryLog::default();
    let hub = Hub::over(log.clone());
    for n in 0..5 {
        hub.publish("news", event(&n.to_string())).await.unwrap();
    }
    // The new event takes the place of a lost one.
    log.rewind(3);
    let lost = hub.publish("news", event("x")).await.unwrap_err();
    assert_eq!(lost.kind(), PublishErrorKind::Unconfirmed);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = hub.publish("news", event("y")).await.unwrap();
    // Another event takes the place of the new one before the hub has confirmed it.
    let mut published = Box::pin(hub.publish("news", event("z")));
    assert!((&mut published).now_or_never().is_none());
    log.rewind(before.seq);
    append(&log, "news", "other").await;
    let lost = published.await.unwrap_err();
    assert_eq!(lost.kind(), PublishErrorKind::Unconfirmed);
}

#[tokio::test(start_paused = true)]
async fn a_publisher_learns_that_the_log_has_lost_its_event() {
    let log = MemoryLog::default();
    let hub = Hub::over(log.clone());
    hub.publish("news", event("0")).await.unwrap();
    let mut published = Box::pin(hub.publish("news", event("1")));
    assert!((&mut published).now_or_never().is_none());
    log.rewind(1);
    let published = timeout(Duration::from_secs(20), published).await.unwrap();
    assert_eq!(published.unwrap_err().kind(), PublishErrorKind::Unconfirmed);
}

#[tokio::test(start_paused = true)]
async fn an_end_that_the_log_has_lost_ends_no_stream() {
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
    let opened = poll_fn(|cx| back.poll_open(cx)).await.unwrap();
    assert_eq!(opened, FeedOpened::Stream);
    let received = texts(&mut back).await;
    assert!(received[0].starts_with("gap "), "{received:?}");
    assert_eq!(received[1..], ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_resumes_after_its_snapshot_gets_no_other() {
    let hub = Hub::in_memory();
    let subscribe = || {
        hub.subscribe("state")
            .snapshot(|| async { Ok::<_, io::Error>([event("1"), event("2")]) })
    };
    let events = next(&mut subscribe()).await.unwrap();
    let id = events[1].id.clone().unwrap();
    let mut back = subscribe();
    back.resume(Some(&id));
    assert_eq!(texts(&mut back).await, [""; 0]);
}
