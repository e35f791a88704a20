//! `ScanningLog`: what its tests can do with it besides the laws of every log.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use tidings_hub::{
    ChannelName, Draft, Entry, KEY_LIFETIME, Log, LogErrorKind, LogFuture, Retention, Scope,
};
use tidings_testkit::scanning_log::ScanningLog;
use tokio::time::advance;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn its_futures_are_ready_and_need_no_runtime() {
    let log = ScanningLog::new(Retention::in_memory());
    let start = now(log.bounds()).newest();
    let mut tail = log.tail(&start);
    assert!(tail.next().now_or_never().is_none());
    assert_eq!(append(&log.clone(), None), (1, false));
    let batch = tail.next().now_or_never().unwrap().unwrap().unwrap();
    assert_eq!(batch, held(&log));
}

#[test]
fn a_trim_keeps_the_newest_entry() {
    let log = filled(5);
    log.trim(4);
    log.trim(2);
    assert_eq!(now(log.bounds()).floor.seq, 3);
    log.trim(u64::MAX);
    assert_eq!(held(&log).len(), 1);
    ScanningLog::new(Retention::in_memory()).trim(7);
}

#[tokio::test(start_paused = true)]
async fn entries_appended_after_a_rewind_have_other_checks() {
    let log = filled(3);
    let (before, newest) = (held(&log), now(log.bounds()).newest());
    let mut tail = log.tail(&newest);
    log.rewind(1);
    assert_eq!(now(log.bounds()).last.seq, 1);
    append(&log, None);
    append(&log, None);
    // The clock has not moved.
    let after = held(&log);
    assert_eq!(after[0], before[0]);
    assert_ne!(after[2].check(), before[2].check());
    let rewound = LogErrorKind::Rewound { last: 3 };
    let error = tail.next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), rewound);
    let error = log.read(0, 9, Scope::all(&newest)).await.unwrap_err();
    assert_eq!(error.kind(), rewound);
}

#[test]
fn a_rewind_keeps_what_the_retention_has_removed() {
    let log = filled(5);
    log.trim(4);
    log.rewind(0);
    let bounds = now(log.bounds());
    assert_eq!((bounds.floor.seq, bounds.last.seq), (3, 3));
    assert_eq!(append(&log, None), (4, false));
}

#[tokio::test(start_paused = true)]
async fn keys_are_forgotten_and_old_entries_are_removed_on_tokios_clock() {
    let log = ScanningLog::new(Retention::in_memory().max_age(Some(KEY_LIFETIME)));
    assert_eq!(append(&log, Some("key")), (1, false));
    advance(KEY_LIFETIME - SECOND).await;
    assert_eq!(append(&log, Some("key")), (1, true));
    assert_eq!(append(&log, None), (2, false));
    advance(SECOND).await;
    assert_eq!(now(log.bounds()).floor.seq, 0);
    assert_eq!(append(&log, Some("key")), (3, false));
    log.rewind(2);
    assert_eq!(append(&log, Some("key")), (3, false));
    advance(SECOND).await;
    assert_eq!(now(log.bounds()).floor.seq, 1);
}

fn filled(count: u64) -> ScanningLog {
    let log = ScanningLog::new(Retention::in_memory());
    for seq in 1..=count {
        assert_eq!(append(&log, None), (seq, false));
    }
    log
}

fn append(log: &ScanningLog, key: Option<&str>) -> (u64, bool) {
    let mut draft = Draft::event(ChannelName::new("a").unwrap(), "x");
    if let Some(key) = key {
        draft = draft.key(key);
    }
    let appended = now(log.append(draft));
    (appended.seq, appended.is_repeat)
}

fn held(log: &ScanningLog) -> Vec<Entry> {
    let bounds = now(log.bounds());
    let newest = bounds.newest();
    let page = now(log.read(bounds.floor.seq, 1_000, Scope::all(&newest)));
    page.entries
}

fn now<T>(answer: LogFuture<'_, T>) -> T {
    answer.now_or_never().unwrap().unwrap()
}
