//! Subscriptions whose event IDs name the channels, and events beside their channels in the same process.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use tidings_hub::{
    ChannelEvent, ChannelEvents, ChannelName, Event, EventId, EventName, Feed, FeedOpened, Gap,
    GapReason, Grant, Hub, MemoryLog, Pattern, Position, Retention, SlowReader, Subscription,
    SubscriptionStream,
};
use tidings_testkit::timeout::timeout;

const LIMIT: Duration = Duration::from_secs(5);
/// The channels of the published events, in turn.
const CHANNELS: [&str; 4] = ["news", "rooms/7", "rooms/8/messages", "other"];

fn event(text: &str) -> Event {
    Event::new(text)
}

/// Publishes the numbers from 0 on, one to each of these channels. Returns their positions.
async fn publish<'a>(hub: &Hub, channels: impl IntoIterator<Item = &'a str>) -> Vec<Position> {
    let mut positions = Vec::new();
    for (n, channel) in channels.into_iter().enumerate() {
        let event = event(&n.to_string());
        positions.push(hub.publish(channel, event).await.unwrap());
    }
    positions
}

/// The bytes of the next events.
async fn next_bytes(subscription: &mut Subscription) -> Option<String> {
    let events = poll_fn(|cx| subscription.poll_events(cx));
    let events = timeout(LIMIT, events).await.expect("in time")?;
    Some(String::from_utf8(events.unwrap().into_bytes().to_vec()).unwrap())
}

/// Reads until these many events have arrived, and returns their bytes.
async fn bytes_of(subscription: &mut Subscription, count: usize) -> String {
    let mut bytes = String::new();
    while bytes.matches("\n\n").count() < count {
        bytes += &next_bytes(subscription).await.unwrap();
    }
    bytes
}

async fn next(stream: &mut SubscriptionStream) -> Vec<Event> {
    let events = timeout(LIMIT, stream.next()).await.expect("in time");
    events.unwrap().unwrap().to_events()
}

async fn next_event(events: &mut ChannelEvents) -> ChannelEvent {
    let next = timeout(LIMIT, events.next()).await.expect("in time");
    next.unwrap().unwrap()
}

async fn open(subscription: &mut Subscription, id: Option<&str>) -> FeedOpened {
    subscription.resume(id);
    let opened = poll_fn(|cx| subscription.poll_open(cx));
    timeout(LIMIT, opened).await.expect("in time").unwrap()
}

fn id(event: &Event) -> &str {
    event.id.as_ref().unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_id_names_the_channel_of_its_event_whether_it_is_live_or_replayed() {
    let hub = Hub::in_memory();
    let subscribe = |patterns: &[&str]| hub.subscribe_all(patterns).name_channels().earliest();
    let sets = [
        &["news"][..],
        &["rooms/*"],
        &["rooms/7", "rooms/8/*", "news"],
        &["rooms/*", "rooms/7", "news", "absent"],
    ];
    let mut live: Vec<_> = sets.map(subscribe).into();
    for subscription in &mut live {
        assert_eq!(open(subscription, None).await, FeedOpened::Stream);
        // It has joined its topics, so it receives the events from their tapes.
        let events = poll_fn(|cx| subscription.poll_events(cx));
        assert!(events.now_or_never().is_none());
    }
    let channels = || CHANNELS.into_iter().cycle().take(12);
    let positions = publish(&hub, channels()).await;
    let expected = sets.map(|set| {
        let patterns = set.iter().map(|text| Pattern::new(text).unwrap());
        let patterns: Vec<_> = patterns.collect();
        let events = positions.iter().zip(channels()).enumerate();
        let meant = events.filter(|(_, (_, channel))| {
            let name = ChannelName::new(channel).unwrap();
            patterns.iter().any(|pattern| pattern.matches(&name))
        });
        let events = meant
            .map(|(n, (position, channel))| format!("id: {position}.{channel}\ndata: {n}\n\n"));
        events.collect::<Vec<_>>()
    });
    for (live, expected) in live.iter_mut().zip(&expected) {
        assert_eq!(bytes_of(live, expected.len()).await, expected.concat());
    }
    // No topic keeps events for later subscribers of this kind. They read the log.
    drop(live);
    for (set, expected) in sets.iter().zip(&expected) {
        let mut replayed = subscribe(set);
        let bytes = bytes_of(&mut replayed, expected.len()).await;
        assert_eq!(bytes, expected.concat());
    }
}

#[tokio::test(start_paused = true)]
async fn a_plain_and_a_named_subscriber_receive_the_same_event() {
    let hub = Hub::in_memory();
    let mut plain = hub.subscribe("rooms/7").resume_after(None);
    let mut named = hub.subscribe("rooms/7").name_channels().resume_after(None);
    for stream in [&mut plain, &mut named] {
        assert!(stream.next().now_or_never().is_none());
    }
    for text in ["a", "b"] {
        let sent = event(text).event(EventName::from_static("said"));
        let position = hub.publish("rooms/7", sent.clone()).await.unwrap();
        assert_eq!(next(&mut plain).await, [sent.clone().id(&position)]);
        let id = EventId::new(format!("{position}.rooms/7")).unwrap();
        assert_eq!(next(&mut named).await, [sent.id(id)]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_resumes_after_any_id_in_either_form() {
    let hub = Hub::in_memory();
    let channels = || CHANNELS.into_iter().cycle().take(9);
    let subscribe = |is_named| {
        let subscription = hub.subscribe_all(["news", "rooms/*", "other"]);
        if is_named {
            subscription.name_channels()
        } else {
            subscription
        }
    };
    // As long as there is a reader of each form, clients resume from tapes, and afterwards from the log.
    let mut readers = vec![subscribe(false), subscribe(true)];
    for reader in &mut readers {
        assert_eq!(open(reader, None).await, FeedOpened::Stream);
    }
    let positions = publish(&hub, channels()).await;
    let plain: Vec<_> = positions.iter().map(ToString::to_string).collect();
    let named: Vec<_> = plain
        .iter()
        .zip(channels())
        .map(|(id, name)| format!("{id}.{name}"))
        .collect();
    let forms = [
        (&named, true),
        (&named, false),
        (&plain, true),
        (&plain, false),
    ];
    for (round, (sent, is_named)) in forms.into_iter().cycle().take(8).enumerate() {
        readers.retain(|_| round < forms.len());
        let received = if is_named { &named } else { &plain };
        for (n, id) in sent.iter().enumerate().take(positions.len() - 1) {
            let mut client = subscribe(is_named);
            assert_eq!(open(&mut client, Some(id)).await, FeedOpened::Stream);
            let rest = received.iter().enumerate().skip(n + 1);
            let expected: Vec<_> = rest
                .map(|(n, id)| format!("id: {id}\ndata: {n}\n\n"))
                .collect();
            let bytes = bytes_of(&mut client, expected.len()).await;
            assert_eq!(bytes, expected.concat());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_id_resumes_whatever_channel_it_names() {
    let hub = Hub::in_memory();
    let positions = publish(&hub, ["news", "news"]).await;
    for name in ["other", "rooms//7", "a".repeat(255).as_str()] {
        let mut news = hub.subscribe("news");
        news.resume(Some(&format!("{}.{name}", positions[0])));
        let expected = format!("id: {}\ndata: 1\n\n", positions[1]);
        assert_eq!(next_bytes(&mut news).await.unwrap(), expected);
    }
    // No position: the name is too long.
    let mut news = hub.subscribe("news");
    news.resume(Some(&format!("{}.{}", positions[0], "a".repeat(256))));
    let gap = next_bytes(&mut news).await.unwrap();
    assert!(gap.contains(r#""reason":"unknown-id""#), "{gap}");
}

#[tokio::test(start_paused = true)]
async fn a_gap_names_no_channel() {
    let log = Arc::new(MemoryLog::new(Retention::in_memory()));
    let hub = Hub::over(Arc::clone(&log));
    let by_name = |event: &Event| event.event.as_ref().map(ToString::to_string);
    let subscribe = || hub.subscribe("news").name_channels();
    let mut slow = subscribe().max_lag(2).resume_after(None);
    let latest = subscribe()
        .max_lag(2)
        .slow_reader(SlowReader::latest_by(by_name));
    let mut latest = latest.resume_after(None);
    let mut lost = subscribe().resume_after(None);
    let price = |text: &str| event(text).event(EventName::from_static("price"));
    let first = hub.publish("news", price("first")).await.unwrap();
    for stream in [&mut slow, &mut latest, &mut lost] {
        assert_eq!(id(&next(stream).await[0]), format!("{first}.news"));
    }
    let mut positions = Vec::new();
    for text in ["a", "b", "c", "d"] {
        positions.push(hub.publish("news", price(text)).await.unwrap());
    }
    let gap =
        |events: &[Event]| Gap::from_event(&events[0]).map(|gap| (gap, id(&events[0]).to_owned()));

    // It skips to the newest two.
    let (found, found_id) = gap(&next(&mut slow).await).unwrap();
    assert_eq!((found.reason, found.missed), (GapReason::Slow, Some(2)));
    assert_eq!(
        (&*found.resumed, &*found_id),
        (&*found_id, &*positions[1].to_string())
    );
    assert_eq!(
        id(&next(&mut slow).await[0]),
        format!("{}.news", positions[2])
    );

    // The gap has the ID of the last event that was delivered, and the newest event follows.
    let (found, found_id) = gap(&next(&mut latest).await).unwrap();
    assert_eq!((found.reason, found.missed), (GapReason::Slow, Some(3)));
    assert_eq!(
        (&*found.resumed, &*found_id),
        (&*found_id, &*first.to_string())
    );
    assert_eq!(
        id(&next(&mut latest).await[0]),
        format!("{}.news", positions[3])
    );

    // The log removes events after an ID that names a channel.
    log.trim(4);
    let sent = EventId::new(format!("{first}.news")).unwrap();
    let mut resumed = subscribe().resume_after(Some(&sent));
    let (found, found_id) = gap(&next(&mut resumed).await).unwrap();
    assert_eq!((found.reason, found.missed), (GapReason::Trimmed, Some(2)));
    assert_eq!(found.requested, Some(first.to_string()));
    assert_eq!(
        (&*found.resumed, &*found_id),
        (&*found_id, &*positions[1].to_string())
    );
    assert_eq!(
        id(&next(&mut resumed).await[0]),
        format!("{}.news", positions[2])
    );

    // The log loses the newest events, and the subscription resumes in another life of the log.
    assert_eq!(next(&mut lost).await.len(), 4);
    log.rewind(4);
    let (found, found_id) = gap(&next_in(&mut lost, 20).await).unwrap();
    assert_eq!(found.reason, GapReason::Epoch);
    assert_eq!(Position::channel_in(&found_id), None);
    let position = hub.publish("news", event("e")).await.unwrap();
    assert_eq!(id(&next(&mut lost).await[0]), format!("{position}.news"));
}

/// The next events, within this many seconds.
async fn next_in(stream: &mut SubscriptionStream, seconds: u64) -> Vec<Event> {
    let events = timeout(Duration::from_secs(seconds), stream.next()).await;
    events.expect("in time").unwrap().unwrap().to_events()
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_names_no_channel() {
    let hub = Hub::in_memory();
    let mut quiet = hub.subscribe_all(["quiet", "silent/*"]).name_channels();
    assert_eq!(open(&mut quiet, None).await, FeedOpened::Stream);
    hub.publish("quiet", event("x")).await.unwrap();
    assert!(next_bytes(&mut quiet).await.unwrap().contains(".quiet\n"));
    assert_eq!(quiet.checkpoint(), None);
    let loud = hub.publish("loud", event("x")).await.unwrap();
    assert_eq!(quiet.checkpoint().unwrap(), &*loud.to_string());
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_names_no_channel() {
    let hub = Hub::in_memory();
    let before = hub.publish("state", event("old")).await.unwrap();
    let snapshot = || async { Ok::<_, io::Error>([event("1"), event("2")]) };
    let mut state = hub.subscribe("state").name_channels().snapshot(snapshot);
    let bytes = next_bytes(&mut state).await.unwrap();
    assert_eq!(bytes, format!("data: 1\n\nid: {before}\ndata: 2\n\n"));
    let after = hub.publish("state", event("3")).await.unwrap();
    let expected = format!("id: {after}.state\ndata: 3\n\n");
    assert_eq!(next_bytes(&mut state).await.unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_its_channels_ends_a_named_stream() {
    let hub = Hub::in_memory();
    let subscribe = || hub.subscribe_all(["a", "b"]).name_channels();
    let mut both = subscribe().resume_after(None);
    let mut one = hub.subscribe("a").name_channels().resume_after(None);
    for stream in [&mut both, &mut one] {
        assert!(stream.next().now_or_never().is_none());
    }
    hub.publish("a", event("x")).await.unwrap();
    hub.channel("a").unwrap().end().await.unwrap();
    assert_eq!(next(&mut one).await.len(), 1);
    assert!(timeout(LIMIT, one.next()).await.unwrap().is_none());

    let last = next(&mut both).await[0].id.clone().unwrap();
    assert_eq!(Position::channel_in(&last), Some("a"));
    let waiting = tokio::spawn(async move { both.next().await.is_none() });
    tokio::task::yield_now().await;
    hub.channel("b").unwrap().end().await.unwrap();
    assert!(timeout(LIMIT, waiting).await.unwrap().unwrap());
    assert_eq!(open(&mut subscribe(), Some(&last)).await, FeedOpened::Over);
    assert_eq!(open(&mut subscribe(), None).await, FeedOpened::Over);
    let opened = open(&mut subscribe().earliest(), None).await;
    assert_eq!(opened, FeedOpened::Stream);
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_a_named_stream_after_its_last_event() {
    let hub = Hub::in_memory();
    let mut rooms = hub.subscribe_all(["rooms/*"]).events_after(None);
    let waiting = tokio::spawn(async move {
        let first = rooms.next().await.unwrap().unwrap();
        (first, rooms.next().await.is_none())
    });
    tokio::task::yield_now().await;
    publish(&hub, ["rooms/7"]).await;
    hub.drain().await;
    let (first, has_ended) = timeout(LIMIT, waiting).await.unwrap().unwrap();
    assert_eq!(
        (first.channel.unwrap().as_str(), has_ended),
        ("rooms/7", true)
    );
}

#[tokio::test(start_paused = true)]
async fn events_come_one_at_a_time_with_their_channels_and_plain_ids() {
    let hub = Hub::in_memory();
    let channels = || CHANNELS.into_iter().cycle().take(8);
    let mut live = hub.subscribe_all(["news", "rooms/*"]).events_after(None);
    assert!(live.next().now_or_never().is_none());
    let positions = publish(&hub, channels()).await;
    // `name_channels` changes nothing here.
    let replayed = hub.subscribe_all(["news", "rooms/*"]).name_channels();
    let mut replayed = replayed.earliest().events_after(None);
    for (n, (position, channel)) in positions.iter().zip(channels()).enumerate() {
        if channel == "other" {
            continue;
        }
        for stream in [&mut live, &mut replayed] {
            let next = next_event(stream).await;
            assert_eq!(next.channel.unwrap(), channel);
            assert_eq!(next.event, event(&n.to_string()).id(position));
        }
    }
    // The ID of each event resumes after it.
    let last = EventId::from(&positions[4]);
    let resumed = hub
        .subscribe_all(["news", "rooms/*"])
        .events_after(Some(&last));
    let texts = resumed
        .take(2)
        .map(|next| next.unwrap().event.data.unwrap());
    let texts = timeout(LIMIT, texts.collect::<Vec<_>>()).await.unwrap();
    assert_eq!(texts, ["5", "6"]);
}

#[tokio::test(start_paused = true)]
async fn a_future_that_is_dropped_loses_no_event() {
    let hub = Hub::in_memory();
    let mut events = hub.subscribe("news").events_after(None);
    assert!(events.next().now_or_never().is_none());
    publish(&hub, ["news", "news", "news"]).await;
    for n in 0..3 {
        drop(events.next());
        let next = next_event(&mut events).await;
        assert_eq!(next.event.text(), n.to_string());
    }
    assert!(events.next().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn events_of_the_hub_and_of_a_snapshot_have_no_channel() {
    let hub = Hub::in_memory();
    let grant = Grant::new(["state"]).unwrap();
    let snapshot = || async { Ok::<_, io::Error>([event("1"), event("2")]) };
    let state = hub.subscribe("state").snapshot(snapshot).grant(&grant);
    let unknown = EventId::from_static("17");
    let mut state = state.events_after(Some(&unknown));
    let gap = next_event(&mut state).await;
    assert_eq!(gap.channel, None);
    assert_eq!(
        Gap::from_event(&gap.event).unwrap().reason,
        GapReason::UnknownId
    );
    for text in ["1", "2"] {
        let next = next_event(&mut state).await;
        assert_eq!((next.channel, next.event.text()), (None, text));
    }
    publish(&hub, ["state", "state"]).await;
    let next = next_event(&mut state).await;
    assert_eq!(
        (next.channel.unwrap().as_str(), next.event.text()),
        ("state", "0")
    );
    // The other event was taken with it, and is not delivered after the grant is revoked.
    grant.revoke();
    let closed = next_event(&mut state).await;
    assert_eq!(
        (closed.channel, closed.event.event_type()),
        (None, "closed")
    );
    assert_eq!(closed.event.id, None);
    assert!(timeout(LIMIT, state.next()).await.unwrap().is_none());
}
