//! What only a log in memory has. That it is a log, the suite of all logs says.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use tidings_hub::{
    ChannelName, Draft, Entry, EntryKind, KEY_LIFETIME, Log, LogError, MemoryLog, Pattern,
    Retention, Tail, TooManyKeys,
};
use tidings_testkit::log_suite::log_suite;
use tokio::time::{advance, timeout};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn it_is_a_log() {
    log_suite(async |retention| Arc::new(MemoryLog::new(retention)) as Arc<dyn Log>).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_is_gone_whoever_looks() {
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
        assert_eq!(read(&log, 0).await[0].seq, 1, "ten seconds are not too old");
        advance(Duration::from_millis(1)).await;
        look(&log);
        assert!(format!("{log:?}").contains("first: 2"), "{log:?}");
        advance(100 * SECOND).await;
        assert!(matches!(
            log.read(3, 9, &[], 9).await,
            Err(LogError::Trimmed { first: 5 })
        ));
        assert_eq!(read(&log, 4).await.len(), 1, "the newest stays");
        append(&log, "x").await;
        assert_eq!(log.bounds().await.unwrap().first, 6);
    }
}

#[tokio::test(start_paused = true)]
async fn time_goes_on_with_the_clock() {
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
async fn a_key_is_remembered_for_its_lifetime_from_the_first_append_on() {
    let log = MemoryLog::default();
    assert_eq!(append_key(&log, "key").await.unwrap(), (1, false));
    advance(KEY_LIFETIME - SECOND).await;
    assert_eq!(append_key(&log, "key").await.unwrap(), (1, true));
    advance(SECOND).await;
    assert_eq!(append_key(&log, "key").await.unwrap(), (2, false));
    // What is left of the first one does not take the second along.
    append(&log, "x").await;
    advance(KEY_LIFETIME - SECOND).await;
    append(&log, "x").await;
    assert_eq!(append_key(&log, "key").await.unwrap(), (2, true));
}

#[tokio::test(start_paused = true)]
async fn more_keys_than_can_be_remembered_are_refused_until_some_are_old() {
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
async fn a_trim_forgets_what_stands_before_but_never_the_newest() {
    let log = filled(5).await;
    let mut slow = log.tail(1);
    let third = read(&log, 2).await[0].clone();
    log.trim(4);
    log.trim(2);
    let bounds = log.bounds().await.unwrap();
    assert_eq!((bounds.first, bounds.last), (4, 5));
    assert_eq!(bounds.floor, Some(third.check()));
    assert!(matches!(
        hear(&mut slow).await,
        Err(LogError::Trimmed { first: 4 })
    ));
    log.trim(u64::MAX);
    assert_eq!(log.bounds().await.unwrap().first, 5);
    MemoryLog::default().trim(7);
}

#[tokio::test(start_paused = true)]
async fn what_grew_again_has_other_checks() {
    let log = MemoryLog::default();
    for body in ["0", "1", "2"] {
        append(&log, body).await;
    }
    let before = read(&log, 0).await;
    log.rewind(1);
    append(&log, "1").await;
    let after = read(&log, 0).await;
    assert_eq!(after[0], before[0]);
    // Though all else is the same, and the clock stands still.
    assert_eq!(after[1].body, before[1].body);
    assert_ne!(after[1].check(), before[1].check());
    assert!(after[1].time > before[2].time);
}

#[tokio::test]
async fn a_tail_that_was_past_a_rewind_fails_also_after_the_log_grew_again() {
    let log = filled(5).await;
    let mut heard = [log.tail(0), log.tail(0)];
    for tail in &mut heard {
        assert_eq!(hear(tail).await.unwrap().len(), 5);
        assert!(tail.next().now_or_never().is_none());
    }
    let (mut at_the_cut, mut before_it) = (log.tail(3), log.tail(1));
    log.rewind(3);
    let [at_once, later] = &mut heard;
    assert!(matches!(
        hear(at_once).await,
        Err(LogError::Rewound { last: 3 })
    ));
    assert!(at_once.next().await.is_none());
    for _ in 0..4 {
        append(&log, "x").await;
    }
    assert!(matches!(
        hear(later).await,
        Err(LogError::Rewound { last: 7 })
    ));
    let read = read(&log, 1).await;
    assert_eq!(hear(&mut before_it).await.unwrap(), read);
    assert_eq!(hear(&mut at_the_cut).await.unwrap(), read[2..]);
}

#[tokio::test]
async fn a_rewind_forgets_the_keys_and_ends_that_it_took_and_no_more() {
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
        "the trimmed stay trimmed"
    );
    assert_eq!(append_key(&log, "new").await.unwrap(), (3, false));
}

#[tokio::test]
async fn a_read_looks_at_no_more_than_some_entries_and_says_how_far_it_came() {
    let log = filled(20_000).await;
    let none = [Pattern::new("none").unwrap()];
    let page = log.read(0, u64::MAX, &none, 10).await.unwrap();
    assert_eq!((page.entries.len(), page.through), (0, 8_192));
    let page = log.read(19_000, u64::MAX, &none, 10).await.unwrap();
    assert_eq!((page.entries.len(), page.through), (0, 20_000));
    // Many patterns are as much work as many entries.
    let many = vec![none[0].clone(); 1_000_000];
    let page = log.read(5, u64::MAX, &many, 10).await.unwrap();
    assert_eq!(page.through, 6);
}

#[tokio::test]
async fn a_tail_takes_a_mebibyte_or_a_thousand_entries_at_a_time() {
    let log = filled(3_000).await;
    let mut tail = log.tail(0);
    for expected in [1_024, 1_024, 952] {
        assert_eq!(hear(&mut tail).await.unwrap().len(), expected);
    }
    for _ in 0..3 {
        append(&log, &"x".repeat(600 << 10)).await;
    }
    for expected in [2, 1] {
        assert_eq!(hear(&mut tail).await.unwrap().len(), expected);
    }
}

#[tokio::test]
async fn clones_are_one_log_and_other_logs_have_other_epochs() {
    let log = filled(1).await;
    append(&log.clone(), "x").await;
    let bounds = log.clone().bounds().await.unwrap();
    assert_eq!(log.bounds().await.unwrap(), bounds);
    let other = MemoryLog::default().bounds().await.unwrap();
    assert_ne!(bounds.epoch, other.epoch);
}

#[test]
fn it_needs_no_runtime() {
    let log = MemoryLog::new(Retention::durable());
    let mut tail = log.tail(0);
    assert!(tail.next().now_or_never().is_none());
    append(&log, "x").now_or_never().unwrap();
    let heard = tail.next().now_or_never().unwrap().unwrap();
    assert_eq!(heard.unwrap().len(), 1);
}

fn name(text: &str) -> ChannelName {
    ChannelName::new(text).unwrap()
}

fn event(body: &str) -> Draft {
    Draft {
        channel: name("a"),
        kind: EntryKind::Event,
        body: body.to_owned().into(),
        key: None,
    }
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
    let draft = Draft {
        key: Some(key.into()),
        ..event("x")
    };
    let appended = log.append(draft).await?;
    Ok((appended.seq, appended.is_repeat))
}

async fn append_end(log: &MemoryLog, channel: &str) {
    let draft = Draft {
        channel: name(channel),
        kind: EntryKind::End,
        ..event("")
    };
    log.append(draft).await.unwrap();
}

async fn read(log: &MemoryLog, after: u64) -> Vec<Entry> {
    log.read(after, u64::MAX, &[], 10_000)
        .await
        .unwrap()
        .entries
}

async fn hear(tail: &mut Tail) -> Result<Vec<Entry>, LogError> {
    timeout(5 * SECOND, tail.next()).await.unwrap().unwrap()
}
