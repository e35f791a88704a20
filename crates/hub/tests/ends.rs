//! Channels that end more than once, on hubs that follow the log and on hubs that begin later.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::{Strategy, any};
use proptest::prop_oneof;
use tidings_hub::{
    ChannelName, Draft, Event, Hub, Log, LogErrorKind, MemoryLog, PublishErrorKind, Retention,
    SubscriptionStream,
};
use tidings_testkit::property;
use tidings_testkit::scanning_log::ScanningLog;
use tidings_testkit::trimmable_log::TrimmableLog;
use tokio::time::sleep;

static MARKS: AtomicU64 = AtomicU64::new(0);

const CHANNELS: [&str; 2] = ["a", "b"];

fn hub(log: &impl TrimmableLog) -> Hub {
    Hub::over(log.clone())
}

/// A log that stores what follows an end, and forgets the ends that it has removed.
fn unable_log() -> ScanningLog {
    ScanningLog::new(Retention::in_memory())
}

/// Appends as another node does; `None` if the channel has ended.
async fn append(log: &impl Log, draft: Draft) -> Option<u64> {
    match log.append(draft).await {
        Ok(appended) => Some(appended.seq),
        Err(error) => {
            assert_eq!(error.kind(), LogErrorKind::Ended);
            None
        }
    }
}

fn name(channel: &str) -> ChannelName {
    ChannelName::new(channel).unwrap()
}

fn draft(channel: &str, text: &str) -> Draft {
    Draft::event(name(channel), Event::new(text).encode().into_bytes())
}

/// The stored events of a channel, as a new subscriber of this hub receives them.
async fn received(hub: &Hub, channel: &str) -> Vec<String> {
    let both = hub.subscribe_all([channel, "mark"]).earliest();
    let mut both = both.resume_after(None);
    let mark = format!("m{}", MARKS.fetch_add(1, Ordering::SeqCst));
    hub.publish("mark", Event::new(mark.clone())).await.unwrap();
    let mut texts = Vec::new();
    while texts.last() != Some(&mark) {
        let events = both.next().await.unwrap().unwrap().to_events();
        texts.extend(events.iter().map(|event| event.text().to_owned()));
    }
    texts.retain(|text| !text.starts_with('m'));
    texts
}

/// The texts of all events until the stream ends.
async fn rest(mut stream: SubscriptionStream) -> Vec<String> {
    let mut texts = Vec::new();
    while let Some(events) = stream.next().await {
        let events = events.unwrap().to_events();
        texts.extend(events.iter().map(|event| event.text().to_owned()));
    }
    texts
}

/// Whether an event of the channel is accepted.
async fn accepts(hub: &Hub, channel: &str) -> bool {
    match hub.publish(channel, Event::new("probe")).await {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.kind(), PublishErrorKind::Ended);
            false
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_repeat_of_an_end_under_its_key_returns_the_first_position() {
    let hub = Hub::in_memory();
    let channel = hub.channel("a").unwrap();
    let longest = "k".repeat(255);
    // The key of an event is no key of an end.
    channel
        .publish(Event::new("1"))
        .key(&longest)
        .await
        .unwrap();
    let first = channel.end().key(&longest).receipt().await.unwrap();
    assert!(!first.is_repeat);
    let repeat = channel.end().key(&longest).receipt().await.unwrap();
    assert_eq!((repeat.position, repeat.is_repeat), (first.position, true));
    for end in [channel.end(), channel.end().key("other")] {
        assert_eq!(end.await.unwrap_err().kind(), PublishErrorKind::Ended);
    }
    for key in ["", &"k".repeat(256)] {
        let error = channel.end().key(key).await.unwrap_err();
        assert_eq!(error.kind(), PublishErrorKind::InvalidKey);
    }
}

#[tokio::test(start_paused = true)]
async fn what_follows_an_end_reaches_nobody_in_a_log_that_stores_it() {
    let log = unable_log();
    let follows = hub(&log);
    append(&log, draft("a", "1")).await.unwrap();
    append(&log, Draft::end(name("a"))).await.unwrap();
    append(&log, draft("a", "late")).await.unwrap();
    let second = append(&log, Draft::end(name("a"))).await.unwrap();
    // The hub has received all of it.
    follows.publish("b", Event::new("x")).await.unwrap();
    let begins = hub(&log);
    for hub in [&follows, &begins] {
        let stored = hub.subscribe("a").earliest().resume_after(None);
        assert_eq!(rest(stored).await, ["1"]);
        assert!(!accepts(hub, "a").await);
        let again = hub.channel("a").unwrap().end().await.unwrap_err();
        assert_eq!(again.kind(), PublishErrorKind::Ended);
    }
    // The log forgets the ends with their entries.
    log.trim(second + 1);
    begins.publish("a", Event::new("2")).await.unwrap();
    follows.publish("a", Event::new("3")).await.unwrap();
    let begins_now = hub(&log);
    for hub in [&follows, &begins, &begins_now] {
        let mut events = received(hub, "a").await;
        events.retain(|text| !text.contains("trimmed"));
        assert_eq!(events, ["2", "3"]);
    }
    // The new channel ends too.
    follows.channel("a").unwrap().end().await.unwrap();
    assert!(!accepts(&begins, "a").await);
}

#[derive(Debug, Clone)]
enum Step {
    Publish(usize, usize),
    End(usize, usize),
    /// Another node appends.
    Append(usize),
    AppendEnd(usize),
    /// Trims to this many entries.
    Trim(u64),
    /// The hubs receive all entries appended so far.
    Follow,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..2_usize, 0..2_usize).prop_map(|(hub, channel)| Step::Publish(hub, channel)),
        2 => (0..2_usize, 0..2_usize).prop_map(|(hub, channel)| Step::End(hub, channel)),
        3 => (0..2_usize).prop_map(Step::Append),
        3 => (0..2_usize).prop_map(Step::AppendEnd),
        2 => (0..8_u64).prop_map(Step::Trim),
        1 => any::<()>().prop_map(|()| Step::Follow),
    ]
}

/// The naive oracle is a hub that begins now: it knows only the entries of the log.
#[test]
fn a_hub_that_follows_delivers_what_a_hub_that_begins_now_delivers() {
    property::check(&vec(step(), 0..40), |steps| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            // Each hub knows what followed an end as long as a log without abilities holds that end.
            let holds_all = steps.iter().filter(|step| !matches!(step, Step::Trim(_)));
            let holds_all: Vec<_> = holds_all.cloned().collect();
            compare(&unable_log(), &holds_all).await;
            compare(&MemoryLog::default(), &steps).await;
            let forgets = Retention::in_memory().remembered_channels(1);
            compare(&MemoryLog::new(forgets), &steps).await;
        });
    });
}

async fn compare(log: &impl TrimmableLog, steps: &[Step]) {
    let hubs = [hub(log), hub(log)];
    for (n, step) in steps.iter().enumerate() {
        take(log, &hubs, step, n).await;
    }
    let begins = hub(log);
    for hub in &hubs {
        follow(hub).await;
    }
    for channel in CHANNELS {
        let expected = received(&begins, channel).await;
        let is_open = accepts(&begins, channel).await;
        for follows in &hubs {
            let mut followed = received(follows, channel).await;
            followed.retain(|text| text != "probe");
            assert_eq!(followed, expected, "{channel}");
            assert_eq!(accepts(follows, channel).await, is_open, "{channel}");
        }
    }
}

/// The hub receives all entries. If the log has removed some of them, it begins again.
async fn follow(hub: &Hub) {
    while let Err(error) = hub.publish("last", Event::new("x")).await {
        assert_eq!(error.kind(), PublishErrorKind::Unconfirmed);
        sleep(Duration::from_millis(10)).await;
    }
}

async fn take(log: &impl TrimmableLog, hubs: &[Hub; 2], step: &Step, n: usize) {
    let is_expected = |kind| {
        matches!(
            kind,
            PublishErrorKind::Ended | PublishErrorKind::Unconfirmed
        )
    };
    match *step {
        Step::Publish(hub, channel) => {
            let published = hubs[hub].publish(CHANNELS[channel], Event::new(n.to_string()));
            published
                .await
                .map_or_else(|error| assert!(is_expected(error.kind())), drop);
        }
        Step::End(hub, channel) => {
            let ended = hubs[hub].channel(CHANNELS[channel]).unwrap().end().await;
            ended.map_or_else(|error| assert!(is_expected(error.kind())), drop);
        }
        Step::Append(channel) => {
            append(log, draft(CHANNELS[channel], &n.to_string())).await;
        }
        Step::AppendEnd(channel) => {
            append(log, Draft::end(name(CHANNELS[channel]))).await;
        }
        Step::Trim(keep) => {
            let last = log.bounds().await.unwrap().last.seq;
            log.trim((last + 1).saturating_sub(keep));
        }
        Step::Follow => {
            for hub in hubs {
                follow(hub).await;
            }
        }
    }
}
