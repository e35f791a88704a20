//! Where a subscription without a last event ID starts, and after a gap: with the oldest events, the newest
//! ones, or those since a time.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use tidings_hub::{
    Event, Feed, Gap, GapReason, Hub, Log, MemoryLog, Position, Retention, Scope, Subscription,
};
use tidings_testkit::scanning_log::ScanningLog;
use tidings_testkit::trimmable_log::TrimmableLog;
use tokio::time::advance;

const SECOND: Duration = Duration::from_secs(1);

async fn publish(hub: &Hub, channel: &str, text: &str) -> Position {
    hub.publish(channel, Event::new(text)).await.unwrap()
}

/// Publishes to these channels in turn; the text of an event is its number in the log.
async fn publish_all(hub: &Hub, channels: &[&str]) -> Vec<Position> {
    let mut positions = Vec::new();
    for channel in channels {
        let next = positions.last().map_or(1, |last: &Position| last.seq + 1);
        positions.push(publish(hub, channel, &next.to_string()).await);
    }
    positions
}

static MARKS: AtomicU64 = AtomicU64::new(0);

/// The texts that the subscription delivers until an event that is published after it has opened. The events
/// that earlier calls have published are left out.
async fn received(hub: &Hub, channel: &str, mut subscription: Subscription) -> Vec<String> {
    poll_fn(|cx| subscription.poll_open(cx)).await.unwrap();
    let mark = format!("mark {}", MARKS.fetch_add(1, Ordering::Relaxed));
    publish(hub, channel, &mark).await;
    let mut texts = rest(subscription, &mark).await;
    assert_eq!(texts.last(), Some(&mark));
    texts.retain(|text| !text.starts_with("mark"));
    texts
}

/// The texts up to this one, or up to the end of the stream. A gap is written as its reason and the number
/// of missed events.
async fn rest(mut subscription: Subscription, last: &str) -> Vec<String> {
    let mut texts = Vec::new();
    while texts.last().is_none_or(|text| text != last) {
        let Some(events) = poll_fn(|cx| subscription.poll_events(cx)).await else {
            break;
        };
        texts.extend(events.unwrap().to_events().iter().map(describe));
    }
    texts
}

fn describe(event: &Event) -> String {
    match Gap::from_event(event) {
        Some(gap) => {
            assert!(gap.requested.is_none() || gap.reason == GapReason::Trimmed);
            told(gap.reason, gap.missed)
        }
        None => event.text().into(),
    }
}

fn told(reason: GapReason, missed: Option<u64>) -> String {
    format!("{reason:?} {missed:?}")
}

fn resumed(mut subscription: Subscription, id: &str) -> Subscription {
    subscription.resume(Some(id));
    subscription
}

#[tokio::test(start_paused = true)]
async fn earliest_of_a_channel_that_was_removed_in_part_is_told() {
    let log = MemoryLog::default();
    let hub = Hub::over(log.clone());
    publish_all(&hub, &["a", "b", "a/c", "b", "a", "b", "a", "b", "a/c"]).await;
    log.trim(6);
    for (channels, missed, rest) in [
        (&["a"][..], 2, &["7"][..]),
        (&["a/c"], 1, &["9"]),
        (&["a", "a/*"], 3, &["7", "9"]),
        (&["a/*"], 1, &["9"]),
        (&["b"], 2, &["6", "8"]),
    ] {
        let mut stream = hub.subscribe_all(channels).earliest();
        let events = poll_fn(|cx| stream.poll_events(cx)).await;
        let events = events.unwrap().unwrap().to_events();
        let gap = Gap::from_event(&events[0]).unwrap();
        let found = (gap.reason, gap.missed, gap.requested.as_ref());
        assert_eq!(found, (GapReason::Trimmed, Some(missed), None));
        assert!(gap.resumed.contains(".5."), "{gap:?}");
        assert_eq!(self::rest(stream, rest.last().unwrap()).await, rest);
    }
}

#[tokio::test(start_paused = true)]
async fn earliest_of_a_new_channel_is_not_told_while_the_table_of_remembered_channels_is_full() {
    let log = MemoryLog::new(Retention::in_memory().remembered_channels(2));
    let hub = Hub::over(log.clone());
    let positions = publish_all(&hub, &["a", "b", "c", "d", "e", "f", "other"]).await;
    log.trim(7);
    // `e` and `f` are remembered.
    for channel in ["e", "f"] {
        let stream = hub.subscribe(channel).earliest();
        let received = received(&hub, channel, stream).await;
        assert_eq!(received, [told(GapReason::Trimmed, Some(1))], "{channel}");
    }
    // The others are forgotten, or new.
    for channel in ["a", "d", "new", "new/b"] {
        publish(&hub, channel, "first").await;
        for subscription in [
            hub.subscribe(channel),
            hub.subscribe_all([channel, "new/c"]),
        ] {
            let stream = subscription.earliest();
            assert_eq!(
                received(&hub, channel, stream).await,
                ["first"],
                "{channel}"
            );
        }
    }
    let stream = hub.subscribe_all(["new/*"]).earliest();
    assert_eq!(received(&hub, "new/b", stream).await, ["first"]);
    // The name may be a new one, but the client's ID is older than all that the log knows.
    let stream = resumed(hub.subscribe("b"), &positions[1].to_string());
    let received = received(&hub, "b", stream).await;
    assert_eq!(received, [told(GapReason::Trimmed, Some(2))]);
}

#[tokio::test(start_paused = true)]
async fn a_client_whose_id_is_newer_than_each_forgotten_channel_is_told_nothing() {
    let log = MemoryLog::new(Retention::in_memory().remembered_channels(2));
    let hub = Hub::over(log.clone());
    let positions = publish_all(&hub, &["a", "b", "c", "d", "e", "f", "other"]).await;
    log.trim(7);
    for channel in ["a", "c", "new"] {
        for id in &positions[3..] {
            let stream = resumed(hub.subscribe(channel), &id.to_string());
            let received = received(&hub, channel, stream).await;
            assert!(received.is_empty(), "{channel} after {id}: {received:?}");
        }
    }
}

/// A log without any ability.
fn unable_log() -> ScanningLog {
    ScanningLog::new(Retention::in_memory())
}

/// What `last` delivers of these channels, in a log that has removed its first two entries.
async fn received_last(log: impl TrimmableLog, channels: &[&str], count: usize) -> Vec<String> {
    let hub = Hub::over(log.clone());
    publish_all(&hub, &["a", "b", "c", "a", "c", "b/d", "c", "a", "c"]).await;
    log.trim(3);
    let stream = hub.subscribe_all(channels).last(count);
    let mark = channels[0].replace('*', "d");
    received(&hub, &mark, stream).await
}

#[tokio::test(start_paused = true)]
async fn last_delivers_the_newest_events_of_all_channels_together_and_fewer_is_no_gap() {
    for (channels, count, expected) in [
        (&["a"][..], 1, &["8"][..]),
        (&["a"], 2, &["4", "8"]),
        (&["a"], 5, &["4", "8"]),
        (&["a"], 0, &["8"]),
        (&["b", "a"], 2, &["4", "8"]),
        (&["a", "c"], 3, &["7", "8", "9"]),
        (&["a", "b/*"], 2, &["6", "8"]),
        (&["b/*"], 9, &["6"]),
        (&["a", "b/*"], 1_000, &["4", "6", "8"]),
        (&["b"], 3, &[]),
        (&["none", "none/*"], 3, &[]),
    ] {
        let received = received_last(MemoryLog::default(), channels, count).await;
        assert_eq!(received, expected, "last({count}) of {channels:?}");
        let received = received_last(unable_log(), channels, count).await;
        assert_eq!(received, expected, "last({count}) of {channels:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn last_delivers_at_most_a_thousand_events() {
    let hub = Hub::in_memory();
    publish_all(&hub, &["a"; 1_050]).await;
    for (count, first) in [
        (1_000, "51"),
        (2_000, "51"),
        (usize::MAX, "51"),
        (999, "52"),
    ] {
        let received = rest(hub.subscribe("a").last(count), "1050").await;
        assert_eq!(received[0], first, "last({count})");
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_is_no_event_of_last() {
    let hub = Hub::in_memory();
    publish_all(&hub, &["a", "b", "a"]).await;
    hub.channel("a").unwrap().end().await.unwrap();
    let both = || hub.subscribe_all(["a", "b"]);
    assert_eq!(received(&hub, "b", both().last(2)).await, ["2", "3"]);
    publish(&hub, "b", "4").await;
    assert_eq!(received(&hub, "b", both().last(1)).await, ["4"]);
    let ended = hub.subscribe("a").last(1);
    assert_eq!(rest(ended, "").await, ["3"]);
    hub.channel("b").unwrap().end().await.unwrap();
    let ended = rest(both().last(1_000), "").await;
    assert_eq!(ended.len(), 6);
    assert_eq!(ended[..3], ["1", "2", "3"]);
}

#[tokio::test(start_paused = true)]
async fn last_applies_after_each_gap_and_an_id_takes_precedence() {
    let log = MemoryLog::default();
    let hub = Hub::over(log.clone());
    let positions = publish_all(&hub, &["b", "a", "a", "a", "b", "a", "a"]).await;
    log.trim(4);
    let epoch = positions[0].epoch.as_str();
    let last = |id: &str| resumed(hub.subscribe("a").last(2), id);
    for (id, gap) in [
        (
            &*positions[0].to_string(),
            told(GapReason::Trimmed, Some(3)),
        ),
        ("17", told(GapReason::UnknownId, None)),
        ("x.4.AAAA", told(GapReason::Epoch, None)),
        (&*format!("{epoch}.6.AAAA"), told(GapReason::Epoch, None)),
        (&*format!("{epoch}.800.AAAA"), told(GapReason::Future, None)),
    ] {
        assert_eq!(rest(last(id), "7").await, [&*gap, "6", "7"], "{id}");
    }
    let id = positions[3].to_string();
    assert_eq!(rest(last(&id), "7").await, ["6", "7"]);
    let id = positions[2].to_string();
    assert_eq!(rest(last(&id), "7").await, ["4", "6", "7"]);
    let id = positions[6].to_string();
    assert!(received(&hub, "a", last(&id)).await.is_empty());
}

/// Publishes 1 to 8 to `a` and `b` in turn, a second apart, and returns when the log stored each.
async fn publish_timed(hub: &Hub, log: &impl Log) -> Vec<SystemTime> {
    for n in 1..=8 {
        publish(hub, ["b", "a"][n % 2], &n.to_string()).await;
        advance(SECOND).await;
    }
    let newest = log.bounds().await.unwrap().newest();
    let page = log.read(0, usize::MAX, Scope::all(&newest)).await.unwrap();
    let time = |nanos| SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos);
    page.entries.iter().map(|entry| time(entry.time)).collect()
}

async fn received_since(
    log: impl TrimmableLog,
    first: u64,
    channels: &[&str],
    since: impl Fn(&[SystemTime]) -> SystemTime,
) -> Vec<String> {
    let hub = Hub::over(log.clone());
    let times = publish_timed(&hub, &log).await;
    log.trim(first);
    let stream = hub.subscribe_all(channels).from_time(since(&times));
    received(&hub, channels[0], stream).await
}

#[tokio::test(start_paused = true)]
async fn from_time_delivers_the_events_at_that_time_and_later() {
    let nano = Duration::from_nanos(1);
    for (channels, at, offset, expected) in [
        (&["a"][..], 1, 0, &["1", "3", "5", "7"][..]),
        (&["a"], 1, -10, &["1", "3", "5", "7"]),
        (&["a"], 3, 0, &["3", "5", "7"]),
        (&["a"], 3, 1, &["5", "7"]),
        (&["a"], 4, 0, &["5", "7"]),
        (&["a", "b"], 4, 0, &["4", "5", "6", "7", "8"]),
        (&["b"], 3, 0, &["4", "6", "8"]),
        (&["a"], 8, 0, &[]),
        (&["a"], 8, 1, &[]),
    ] {
        let since = |times: &[SystemTime]| match offset {
            -10 => times[at - 1] - 10 * SECOND,
            1 => times[at - 1] + nano,
            _ => times[at - 1],
        };
        let context = format!("{channels:?} since {at} and {offset}");
        let received = received_since(MemoryLog::default(), 1, channels, since).await;
        assert_eq!(received, expected, "{context}");
        let received = received_since(unable_log(), 1, channels, since).await;
        assert_eq!(received, expected, "{context}");
    }
    // A time before 1970 counts as 1970, and a time in the future selects no stored event.
    let hub = Hub::in_memory();
    publish_all(&hub, &["a", "a"]).await;
    for (since, expected) in [
        (SystemTime::UNIX_EPOCH - SECOND, &["1", "2"][..]),
        (SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 34), &[]),
    ] {
        let stream = hub.subscribe("a").from_time(since);
        assert_eq!(received(&hub, "a", stream).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn events_of_one_moment_are_delivered_together_by_from_time() {
    let log = MemoryLog::default();
    let hub = Hub::over(log.clone());
    publish(&hub, "a", "before").await;
    advance(SECOND).await;
    for text in ["1", "2", "3"] {
        publish(&hub, "a", text).await;
    }
    let newest = log.bounds().await.unwrap().newest();
    let page = log.read(0, 9, Scope::all(&newest)).await.unwrap();
    let nanos = page.entries[3].time;
    assert_eq!(page.entries[1].time, nanos);
    let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos);
    let all = received(&hub, "a", hub.subscribe("a").from_time(time));
    assert_eq!(all.await, ["1", "2", "3"]);
    // The oldest of them is removed.
    log.trim(3);
    let rest = received(&hub, "a", hub.subscribe("a").from_time(time)).await;
    assert_eq!(rest[1..], ["2", "3"]);
    // The log may count "before" too.
    let gaps = [1, 2].map(|missed| told(GapReason::Trimmed, Some(missed)));
    assert!(gaps.contains(&rest[0]), "{rest:?}");
}

#[tokio::test(start_paused = true)]
async fn from_time_is_told_of_removed_events_of_that_time_and_of_no_others() {
    // 1 to 5 are removed: three events of `a`, and two of `b`.
    for (channels, at, missed) in [
        (&["a"][..], 1, Some(3..=3)),
        (&["a"], 5, Some(1..=3)),
        (&["a"], 6, None),
        (&["b"], 1, Some(2..=2)),
        (&["b"], 4, Some(1..=2)),
        // Only an event of `a` is that new.
        (&["b"], 5, None),
        (&["a", "b"], 1, Some(5..=5)),
        (&["a", "b"], 5, Some(1..=5)),
        (&["none", "a/*"], 1, None),
    ] {
        let since = |times: &[SystemTime]| times[at - 1];
        let mut received = received_since(MemoryLog::default(), 6, channels, since).await;
        let rest = received.split_off(usize::from(missed.is_some()));
        let context = format!("{channels:?} since {at}");
        if let Some(missed) = missed {
            // The log knows how many were removed, and when the newest of them was stored.
            let mut gaps = missed.map(|n| told(GapReason::Trimmed, Some(n)));
            assert!(
                gaps.any(|gap| gap == received[0]),
                "{context}: {received:?}"
            );
        }
        let expected = (6..=8).filter(|n| channels.contains(&["b", "a"][n % 2]));
        let expected: Vec<_> = expected.map(|n| n.to_string()).collect();
        assert_eq!(rest, expected, "{context}");
    }
}

#[tokio::test(start_paused = true)]
async fn from_time_applies_after_a_gap_and_an_id_takes_precedence() {
    let log = MemoryLog::default();
    let hub = Hub::over(log.clone());
    let times = publish_timed(&hub, &log).await;
    let since = || hub.subscribe("a").from_time(times[4]);
    let gap = told(GapReason::UnknownId, None);
    assert_eq!(rest(resumed(since(), "17"), "7").await, [&*gap, "5", "7"]);
    let newest = log.bounds().await.unwrap().newest().to_string();
    assert!(
        received(&hub, "a", resumed(since(), &newest))
            .await
            .is_empty()
    );
}
