//! A log in memory: the guarantees of every log, and what only this one has.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use tidings_hub::{
    ChannelName, Draft, Entry, KEY_LIFETIME, Log, LogError, LogErrorKind, MemoryLog, Pattern,
    Retention, Tail, TooManyKeys,
};
use tidings_testkit::log_suite::log_suite;
use tidings_testkit::timeout::timeout;
use tokio::time::advance;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_memory_log_passes_the_log_suite() {
    log_suite(async |retention| Arc::new(MemoryLog::new(retention)) as Arc<dyn Log>).await;
}

#[tokio::test(start_paused = true)]
async fn every_method_removes_expired_entries_first() {
    let looks: [fn(&MemoryLog); 4] = [
        |log| drop(log.bounds()),
        |log| drop(log.read(5, 9, &[], 1)),
        |log| drop(log.ends()),
        |log| drop(log.tail(0)),
    ];
    for look in looks {
        let log = MemoryLog::new(Retention::in_memory().max_age(Some(10 * SECOND)));
        for _ in 0..5 {
            append(&log, "x").await;
            advance(SECOND).await;
        }
        advance(5 * SECOND).await;
        assert_eq!(
            read(&log, 0).await[0].seq,
            1,
            "an age of ten seconds is within the limit"
        );
        advance(Duration::from_millis(1)).await;
        look(&log);
        assert!(format!("{log:?}").contains("first: 2"), "{log:?}");
        advance(100 * SECOND).await;
        let trimmed = log.read(3, 9, &[], 9).await.unwrap_err();
        assert_eq!(trimmed.kind(), LogErrorKind::Trimmed { first: 5 });
        assert_eq!(read(&log, 4).await.len(), 1, "the newest stays");
        append(&log, "x").await;
        assert_eq!(log.bounds().await.unwrap().first, 6);
    }
}

#[tokio::test(start_paused = true)]
async fn entry_times_follow_the_clock() {
    let log = MemoryLog::default();
    append(&log, "x").await;
    append(&log, "x").await;
    advance(Duration::from_millis(1_500)).await;
    append(&log, "x").await;
    let times: Vec<_> = read(&log, 0).await.iter().map(|entry| entry.time).collect();
    assert_eq!(
        (times[1] - times[0], times[2] - times[1]),
        (0, 1_500_000_000)
    );
}

#[tokio::test(start_paused = true)]
async fn a_key_is_remembered_for_its_lifetime_after_the_first_append() {
    let log = MemoryLog::default();
    assert_eq!(append_key(&log, "key").await.unwrap(), (1, false));
    advance(KEY_LIFETIME - SECOND).await;
    assert_eq!(append_key(&log, "key").await.unwrap(), (1, true));
    advance(SECOND).await;
    assert_eq!(append_key(&log, "key").await.unwrap(), (2, false));
    // When the first entry of the key expires, the second one stays.
    append(&log, "x").await;
    advance(KEY_LIFETIME - SECOND).await;
    append(&log, "x").await;
    assert_eq!(append_key(&log, "key").await.unwrap(), (2, true));
}

#[tokio::test(start_paused = true)]
async fn an_append_is_refused_while_too_many_keys_are_remembered() {
    let log = MemoryLog::new(Retention::in_memory().max_events(1));
    append_key(&log, "first").await.unwrap();
    advance(SECOND).await;
    for n in 1..1_000_000 {
        append_key(&log, &n.to_string()).await.unwrap();
    }
    let refused = append_key(&log, "one too many").await.unwrap_err();
    assert!(refused.source().unwrap().is::<TooManyKeys>(), "{refused:?}");
    assert_eq!(log.bounds().await.unwrap().last, 1_000_000);
    assert_eq!(append_key(&log, "7").await.unwrap(), (8, true));
    append(&log, "without a key").await;
    advance(KEY_LIFETIME - SECOND).await;
    assert_eq!(
        append_key(&log, "a place").await.unwrap(),
        (1_000_002, false)
    );
    append_key(&log, "one too many").await.unwrap_err();
}

#[tokio::test]
async fn trim_removes_earlier_entries_but_never_the_newest() {
    let log = filled(5).await;
    let mut slow = log.tail(1);
    let third = read(&log, 2).await[0].clone();
    log.trim(4);
    log.trim(2);
    let bounds = log.bounds().await.unwrap();
    assert_eq!((bounds.first, bounds.last), (4, 5));
    assert_eq!(bounds.floor, Some(third.check()));
    let trimmed = receive(&mut slow).await.unwrap_err();
    assert_eq!(trimmed.kind(), LogErrorKind::Trimmed { first: 4 });
    log.trim(u64::MAX);
    assert_eq!(log.bounds().await.unwrap().first, 5);
    MemoryLog::default().trim(7);
}

#[tokio::test(start_paused = true)]
async fn entries_appended_after_a_rewind_have_other_checks() {
    let log = MemoryLog::default();
    for body in ["0", "1", "2"] {
        append(&log, body).await;
    }
    let before = read(&log, 0).await;
    log.rewind(1);
    append(&log, "1").await;
    let after = read(&log, 0).await;
    assert_eq!(after[0], before[0]);
    // All other fields are the same, and the clock has not moved.
    assert_eq!(after[1].body, before[1].body);
    assert_ne!(after[1].check(), before[1].check());
    assert!(after[1].time > before[2].time);
}

#[tokio::test]
async fn a_tail_past_a_rewind_fails_even_after_the_log_has_grown_again() {
    let log = filled(5).await;
    let mut past = [log.tail(0), log.tail(0)];
    for tail in &mut past {
        assert_eq!(receive(tail).await.unwrap().len(), 5);
        assert!(tail.next().now_or_never().is_none());
    }
    let (mut at_the_cut, mut before_it) = (log.tail(3), log.tail(1));
    log.rewind(3);
    let [at_once, later] = &mut past;
    let rewound = receive(at_once).await.unwrap_err();
    assert_eq!(rewound.kind(), LogErrorKind::Rewound { last: 3 });
    assert!(at_once.next().await.is_none());
    for _ in 0..4 {
        append(&log, "x").await;
    }
    let rewound = receive(later).await.unwrap_err();
    assert_eq!(rewound.kind(), LogErrorKind::Rewound { last: 7 });
    let read = read(&log, 1).await;
    assert_eq!(receive(&mut before_it).await.unwrap(), read);
    assert_eq!(receive(&mut at_the_cut).await.unwrap(), read[2..]);
}

#[tokio::test]
async fn a_rewind_removes_the_keys_and_ends_of_its_entries_and_no_others() {
    let log = MemoryLog::default();
    append_key(&log, "kept").await.unwrap();
    append_end(&log, "kept").await;
    append_key(&log, "lost").await.unwrap();
    append_end(&log, "lost").await;
    log.rewind(2);
    assert_eq!(log.ends().await.unwrap(), [(name("kept"), 2)]);
    assert_eq!(append_key(&log, "kept").await.unwrap(), (1, true));
    assert_eq!(append_key(&log, "other").await.unwrap(), (3, false));
    assert_eq!(append_key(&log, "lost").await.unwrap(), (4, false));
    log.trim(3);
    log.rewind(0);
    let bounds = log.bounds().await.unwrap();
    assert_eq!(
        (bounds.first, bounds.last),
        (3, 2),
        "trimmed entries stay removed"
    );
    assert_eq!(append_key(&log, "new").await.unwrap(), (3, false));
}

#[tokio::test]
async fn a_read_examines_a_limited_number_of_entries_and_returns_how_far_it_came() {
    let log = filled(20_000).await;
    let none = [Pattern::new("none").unwrap()];
    let page = log.read(0, u64::MAX, &none, 10).await.unwrap();
    assert_eq!((page.entries.len(), page.through), (0, 8_192));
    let page = log.read(19_000, u64::MAX, &none, 10).await.unwrap();
    assert_eq!((page.entries.len(), page.through), (0, 20_000));
    // Many patterns count as much as many entries.
    let many = vec![none[0].clone(); 1_000_000];
    let page = log.read(5, u64::MAX, &many, 10).await.unwrap();
    assert_eq!(page.through, 6);
}

#[tokio::test]
async fn a_tail_batch_has_at_most_a_mebibyte_or_a_thousand_entries() {
    let log = filled(3_000).await;
    let mut tail = log.tail(0);
    for expected in [1_024, 1_024, 952] {
        assert_eq!(receive(&mut tail).await.unwrap().len(), expected);
    }
    for _ in 0..3 {
        append(&log, &"x".repeat(600 << 10)).await;
    }
    for expected in [2, 1] {
        assert_eq!(receive(&mut tail).await.unwrap().len(), expected);
    }
}

#[tokio::test]
async fn clones_are_the_same_log_and_other_logs_have_other_epochs() {
    let log = filled(1).await;
    append(&log.clone(), "x").await;
    let bounds = log.clone().bounds().await.unwrap();
    assert_eq!(log.bounds().await.unwrap(), bounds);
    let other = MemoryLog::default().bounds().await.unwrap();
    assert_ne!(bounds.epoch, other.epoch);
}

#[test]
fn a_memory_log_needs_no_runtime() {
    let log = MemoryLog::new(Retention::durable());
    let mut tail = log.tail(0);
    assert!(tail.next().now_or_never().is_none());
    append(&log, "x").now_or_never().unwrap();
    let batch = tail.next().now_or_never().unwrap().unwrap();
    assert_eq!(batch.unwrap().len(), 1);
}

fn name(text: &str) -> ChannelName {
    ChannelName::new(text).unwrap()
}

fn event(body: &str) -> Draft {
    Draft::event(name("a"), body.to_owned())
}

async fn filled(count: usize) -> MemoryLog {
    let log = MemoryLog::default();
    for _ in 0..count {
        append(&log, "x").await;
    }
    log
}

async fn append(log: &MemoryLog, body: &str) {
    log.append(event(body)).await.unwrap();
}

async fn append_key(log: &MemoryLog, key: &str) -> Result<(u64, bool), LogError> {
    let appended = log.append(event("x").key(key)).await?;
    Ok((appended.seq, appended.is_repeat))
}

async fn append_end(log: &MemoryLog, channel: &str) {
    log.append(Draft::end(name(channel))).await.unwrap();
}

async fn read(log: &MemoryLog, after: u64) -> Vec<Entry> {
    log.read(after, u64::MAX, &[], 10_000)
        .await
        .unwrap()
        .entries
}

async fn receive(tail: &mut Tail) -> Result<Vec<Entry>, LogError> {
    timeout(5 * SECOND, tail.next()).await.unwrap().unwrap()
}
