//! Loss by channel: one log of a busy and a quiet channel. A subscriber is told of its own events, and of
//! no others.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::future::poll_fn;

use tidings_hub::{
    Abilities, Event, EventId, Feed, Gap, GapReason, Hub, MemoryLog, Position, Retention,
    SlowReader, Subscription, SubscriptionStream,
};
use tidings_testkit::scanning_log::ScanningLog;
use tidings_testkit::trimmable_log::TrimmableLog;

const QUIET: &str = "quiet/a";
const BUSY: &str = "busy/b";
/// Subscriptions that receive the quiet channel, and not the busy one.
const SUBSCRIBED: [&[&str]; 4] = [
    &[QUIET],
    &["quiet/*"],
    &["other", QUIET],
    &["other/*", QUIET, "quiet/*"],
];

fn knowing_log() -> MemoryLog {
    MemoryLog::default()
}

/// A log that does not know of which channels it has removed events.
fn unable_log() -> ScanningLog {
    ScanningLog::new(Retention::in_memory())
}

async fn publish(hub: &Hub, channel: &str, text: &str) -> Position {
    hub.publish(channel, Event::new(text)).await.unwrap()
}

async fn publish_many(hub: &Hub, channel: &str, count: usize) {
    for _ in 0..count {
        publish(hub, channel, "x").await;
    }
}

fn resumed(subscription: Subscription, after: &Position) -> SubscriptionStream {
    subscription.resume_after(Some(&EventId::from(after)))
}

/// The stream of a subscription that has opened, and is not read.
async fn opened(mut subscription: Subscription) -> SubscriptionStream {
    poll_fn(|cx| subscription.poll_open(cx)).await.unwrap();
    subscription.resume_after(None)
}

/// The texts up to this one, or up to the end of the stream. A gap is written as `describe` does.
async fn texts(stream: &mut SubscriptionStream, last: &str) -> Vec<String> {
    let mut texts = Vec::new();
    while texts.last().is_none_or(|text| text != last) {
        let Some(events) = stream.next().await else {
            texts.push("end".into());
            break;
        };
        texts.extend(events.unwrap().to_events().iter().map(describe));
    }
    texts
}

fn describe(event: &Event) -> String {
    match Gap::from_event(event) {
        Some(gap) => told(gap.reason, gap.missed),
        None => event.text().into(),
    }
}

fn told(reason: GapReason, missed: Option<u64>) -> String {
    format!("{reason:?} {missed:?}")
}

/// The entry with the number 1 is quiet, 2 to 21 are busy, and 1 to 14 are removed.
async fn trimmed(log: &impl TrimmableLog, hub: &Hub) -> Position {
    let first = publish(hub, QUIET, "1").await;
    publish_many(hub, BUSY, 20).await;
    log.trim(15);
    first
}

#[tokio::test(start_paused = true)]
async fn a_client_of_a_quiet_channel_resumes_after_its_removed_event_and_is_told_nothing() {
    let log = knowing_log();
    let hub = Hub::over(log.clone());
    let first = trimmed(&log, &hub).await;
    let again = Hub::over(log.clone());
    publish(&hub, QUIET, "2").await;
    for hub in [hub, again] {
        for patterns in SUBSCRIBED {
            for subscription in [
                hub.subscribe_all(patterns),
                hub.subscribe_all(patterns).earliest(),
                hub.subscribe_all(patterns).latest(),
                hub.subscribe_all(patterns).last(1),
            ] {
                let received = texts(&mut resumed(subscription, &first), "2").await;
                assert_eq!(received, ["2"], "{patterns:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_that_cannot_know_tells_a_client_at_most_how_many_events_it_misses() {
    let log = unable_log();
    let hub = Hub::over(log.clone());
    let first = trimmed(&log, &hub).await;
    publish(&hub, QUIET, "2").await;
    for patterns in SUBSCRIBED {
        let mut stream = resumed(hub.subscribe_all(patterns), &first);
        let received = texts(&mut stream, "2").await;
        assert_eq!(received, [&*told(GapReason::Trimmed, Some(13)), "2"]);
    }
    // The client has received everything that was removed.
    let newest = publish(&hub, QUIET, "3").await;
    log.trim(newest.seq + 1);
    let mut stream = resumed(hub.subscribe(QUIET), &newest);
    publish(&hub, QUIET, "4").await;
    assert_eq!(texts(&mut stream, "4").await, ["4"]);
}

fn policies() -> [SlowReader; 3] {
    [
        SlowReader::skip_to_gap(),
        SlowReader::disconnect(),
        SlowReader::latest_by(|_| Some("key".into())),
    ]
}

/// A subscriber of the quiet channel reads nothing while another channel is busy, and then "2" of its own.
/// Returns the texts that it receives, for each policy.
async fn received_slowly<L: TrimmableLog>(
    make: impl Fn() -> L,
    tape_bytes: usize,
    max_lag: u64,
    trims: bool,
    patterns: &[&str],
) -> [Vec<String>; 3] {
    let mut all = Vec::new();
    for policy in policies() {
        let log = make();
        let hub = Hub::builder().tape_bytes(tape_bytes).over(log.clone());
        let subscription = hub.subscribe_all(patterns).max_lag(max_lag);
        let mut stream = opened(subscription.slow_reader(policy)).await;
        publish(&hub, QUIET, "1").await;
        assert_eq!(texts(&mut stream, "1").await, ["1"]);
        publish_many(&hub, BUSY, 20).await;
        if trims {
            log.trim(15);
        }
        publish(&hub, QUIET, "2").await;
        all.push(texts(&mut stream, "2").await);
    }
    all.try_into().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_slow_subscriber_of_a_quiet_channel_is_told_nothing_by_each_policy() {
    for patterns in SUBSCRIBED {
        for tape_bytes in [0, 1 << 20] {
            for max_lag in [1, 3, u64::MAX] {
                for trims in [false, true] {
                    let received =
                        received_slowly(knowing_log, tape_bytes, max_lag, trims, patterns).await;
                    let context = (patterns, tape_bytes, max_lag, trims);
                    assert_eq!(received, [["2"]; 3], "{context:?}");
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_subscriber_of_a_log_that_cannot_know_is_told_if_entries_were_removed() {
    for patterns in SUBSCRIBED {
        for max_lag in [3, u64::MAX] {
            let kept = received_slowly(unable_log, 0, max_lag, false, patterns).await;
            assert_eq!(kept, [["2"]; 3], "{patterns:?}, {max_lag}");
            let [skips, disconnects, latest] =
                received_slowly(unable_log, 0, max_lag, true, patterns).await;
            let gap = told(GapReason::Slow, Some(13));
            assert_eq!(skips, [&*gap, "2"], "{patterns:?}, {max_lag}");
            assert_eq!(disconnects, ["end"], "{patterns:?}, {max_lag}");
            assert_eq!(latest, [&*gap, "2"], "{patterns:?}, {max_lag}");
        }
        // The tapes hold everything.
        let taped = received_slowly(unable_log, 1 << 20, u64::MAX, true, patterns).await;
        assert_eq!(taped, [["2"]; 3], "{patterns:?}");
    }
}

/// Publishes 1 to 10 to the quiet channel, each after 9 events of the busy one: `n` has the number 10 n.
async fn publish_ten(hub: &Hub) -> Vec<Position> {
    let mut positions = Vec::new();
    for n in 1..=10 {
        publish_many(hub, BUSY, 9).await;
        positions.push(publish(hub, QUIET, &n.to_string()).await);
    }
    positions
}

/// Checks the gaps of clients that have received everything up to the `n`th quiet event, while 1 to 6 are
/// removed. `is_exact`: the log knows each removed event. Otherwise it knows how many there were, so those
/// that the client has received may count.
async fn check_counts(log: impl TrimmableLog, is_exact: bool) {
    let hub = Hub::over(log.clone());
    let nothing = publish(&hub, "other", "0").await;
    let positions = publish_ten(&hub).await;
    log.trim(positions[5].seq + 5);
    let rest = ["7", "8", "9", "10"];
    for received in 0..=5_u64 {
        let quiet = || hub.subscribe_all(["other", QUIET]);
        let id = match usize::try_from(received).unwrap() {
            0 => &nothing,
            n => &positions[n - 1],
        };
        for (subscription, skipped) in [
            (quiet(), 0),
            (quiet().earliest(), 0),
            (quiet().last(1_000), 0),
            (quiet().last(3), 1),
            (quiet().latest(), 4),
        ] {
            let mut stream = resumed(subscription, id);
            let events = stream.next().await.unwrap().unwrap().to_events();
            let gap = Gap::from_event(&events[0]).unwrap();
            let (missed, least) = (gap.missed.unwrap(), 6 - received + skipped);
            let most = if is_exact { least } else { 6 + skipped };
            assert!(
                (least..=most).contains(&missed),
                "after {received}: {gap:?}"
            );
            let rest = &rest[usize::try_from(skipped).unwrap()..];
            if let Some(last) = rest.last() {
                assert_eq!(texts(&mut stream, last).await, rest);
            }
        }
    }
    for received in 6..=10 {
        let mut stream = resumed(hub.subscribe(QUIET), &positions[received - 1]);
        let mark = format!("after {received}");
        publish(&hub, QUIET, &mark).await;
        let rest = (received + 1..=10).map(|n| n.to_string());
        let marks = (6..=received).map(|n| format!("after {n}"));
        let expected: Vec<_> = rest.chain(marks).collect();
        assert_eq!(texts(&mut stream, &mark).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_gap_of_a_client_counts_the_events_of_its_channels_that_were_removed() {
    check_counts(knowing_log(), false).await;
    let all = ScanningLog::with(Abilities::ALL, Retention::in_memory());
    check_counts(all, true).await;
}

#[tokio::test(start_paused = true)]
async fn a_gap_of_a_slow_subscriber_counts_exactly_the_events_that_it_misses() {
    for trims in [false, true] {
        let log = knowing_log();
        let hub = Hub::builder().tape_bytes(0).over(log.clone());
        let mut streams = Vec::new();
        for policy in policies() {
            let subscription = hub.subscribe(QUIET).max_lag(25).slow_reader(policy);
            streams.push(opened(subscription).await);
        }
        publish_ten(&hub).await;
        if trims {
            log.trim(35);
        }
        let [skips, disconnects, latest] = &mut streams[..] else {
            panic!("a stream for each policy")
        };
        let gap = |missed| told(GapReason::Slow, Some(missed));
        // The oldest entry within the lag has the number 76.
        let received = texts(skips, "10").await;
        assert_eq!(received, [&*gap(7), "8", "9", "10"]);
        assert_eq!(texts(disconnects, "10").await, ["end"]);
        let received = texts(latest, "10").await;
        if trims {
            // First the log no longer holds the events whose latest one it would find.
            assert_eq!(received, [&*gap(3), &*gap(6), "10"]);
        } else {
            assert_eq!(received, [&*gap(9), "10"]);
        }
    }
}
