//! Laws of retention: the entries that a log forgets, and the facts that it keeps about them.

use std::time::Duration;

use tidings_hub::{Entry, LogErrorKind, Retention};
use tokio::time::{Instant, sleep};

use super::subject::{PATIENCE, Subject, assert_contiguous, end};
use super::{Law, ROOMY, law};

const TEN: Retention = ROOMY.max_events(10);
const FOUR_KIB: Retention = ROOMY.max_bytes(4096);
const SHORT: Retention = ROOMY.max_age(Some(Duration::from_millis(300)));

pub(super) const LAWS: &[Law] = &[
    law!(the_limit_on_entries_is_kept, TEN),
    law!(the_limit_on_bytes_is_kept, FOUR_KIB),
    law!(
        the_newest_entry_stays_with_a_limit_of_zero_entries,
        ROOMY.max_events(0)
    ),
    law!(
        the_newest_entry_stays_however_large_it_is,
        ROOMY.max_bytes(1)
    ),
    law!(old_entries_are_forgotten_except_the_newest, SHORT),
    law!(a_read_of_forgotten_entries_fails, TEN),
    law!(ends_are_forgotten_with_their_entries, TEN),
];

async fn the_limit_on_entries_is_kept(log: Subject) {
    let mut appended = Vec::new();
    for seq in 1_u64..=35 {
        appended.push(publish(&log, 1).await);
        assert_kept(&log, &appended, seq.saturating_sub(9).max(1)).await;
    }
}

async fn the_limit_on_bytes_is_kept(log: Subject) {
    let mut appended: Vec<Entry> = Vec::new();
    for n in 0..60 {
        appended.push(publish(&log, n * 277 % 1500).await);
        let mut cost = 0;
        let newest_first = appended.iter().rev();
        let kept = newest_first.take_while(|entry| {
            cost += entry.cost();
            cost <= 4096
        });
        let first = appended.len() - kept.count() + 1;
        assert_kept(&log, &appended, first as u64).await;
    }
    // An entry over the limit pushes out all others, and the next entry pushes it out.
    appended.push(publish(&log, 10_000).await);
    assert_kept(&log, &appended, 61).await;
    appended.push(publish(&log, 1).await);
    assert_kept(&log, &appended, 62).await;
}

async fn the_newest_entry_stays_with_a_limit_of_zero_entries(log: Subject) {
    only_the_newest_stays(&log).await;
}

async fn the_newest_entry_stays_however_large_it_is(log: Subject) {
    only_the_newest_stays(&log).await;
}

async fn only_the_newest_stays(log: &Subject) {
    let mut appended = Vec::new();
    for seq in 1..=5 {
        appended.push(publish(log, 100).await);
        assert_kept(log, &appended, seq).await;
    }
}

async fn old_entries_are_forgotten_except_the_newest(log: Subject) {
    let mut appended = Vec::new();
    for _ in 0..5 {
        appended.push(publish(&log, 1).await);
    }
    wait_for_first(&log, 5).await;
    assert_kept(&log, &appended, 5).await;
    appended.push(publish(&log, 1).await);
    wait_for_first(&log, 6).await;
    assert_kept(&log, &appended, 6).await;
}

async fn wait_for_first(log: &Subject, first: u64) {
    let start = Instant::now();
    while log.bounds().await.first < first {
        assert!(start.elapsed() < PATIENCE, "old entries are not forgotten");
        sleep(Duration::from_millis(20)).await;
    }
}

async fn a_read_of_forgotten_entries_fails(log: Subject) {
    log.fill(25).await;
    for after in [0, 1, 14] {
        for up_to in [after, 20, u64::MAX] {
            let page = log.read(after, up_to, &[], 100).await;
            let kind = page.map_err(|error| error.kind());
            let trimmed = LogErrorKind::Trimmed { first: 16 };
            assert_eq!(kind, Err(trimmed), "{after} {up_to}");
        }
    }
    let entries = log.read_all(15, &[]).await;
    assert_eq!(entries.len(), 10);
    assert_contiguous(&entries, 16);
}

async fn ends_are_forgotten_with_their_entries(log: Subject) {
    log.append(end("a")).await;
    log.append(end("b")).await;
    log.fill(9).await;
    assert_eq!(log.ends().await, [("b".to_owned(), 2)]);
    log.fill(1).await;
    assert_eq!(log.ends().await, []);
    // The name now belongs to a new channel, which may end too.
    log.append(end("a")).await;
    assert_eq!(log.ends().await, [("a".to_owned(), 13)]);
}

/// Appends a body of this many bytes, and reads it back before the log can forget it.
async fn publish(log: &Subject, bytes: usize) -> Entry {
    let seq = log.publish("a", vec![b'x'; bytes]).await;
    let page = log.read(seq - 1, seq, &[], 1).await.unwrap();
    page.entries[0].clone()
}

/// Asserts that the log keeps exactly the entries from `first` on, and knows the floor.
async fn assert_kept(log: &Subject, appended: &[Entry], first: u64) {
    let bounds = log.bounds().await;
    assert_eq!((bounds.first, bounds.last), (first, appended.len() as u64));
    let before = usize::try_from(first - 1).unwrap();
    let floor = before.checked_sub(1).map(|at| appended[at].check());
    assert_eq!(bounds.floor, floor, "the check of the entry before {first}");
    assert_eq!(log.read_all(first - 1, &[]).await, appended[before..]);
}
