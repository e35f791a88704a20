//! Laws of retention: the entries that a log removes, and the facts that it keeps about them.

use std::time::Duration;

use tidings_hub::{LogErrorKind, Retention};
use tokio::time::{Instant, sleep};

use super::history::History;
use super::subject::{PATIENCE, Subject, assert_contiguous, event};
use super::{Law, ROOMY, TEN, law};

/// The most bytes that a log may count for a channel.
const CHANNEL_BYTES: u64 = 256;
const FOUR_KIB: Retention = ROOMY.max_bytes(4096);
const SHORT: Retention = ROOMY.max_age(Some(Duration::from_millis(300)));

pub(super) const LAWS: &[Law] = &[
    law!(the_limit_on_entries_is_kept, TEN),
    law!(the_limit_on_bytes_is_kept, FOUR_KIB),
    law!(
        the_newest_entry_stays_with_a_limit_of_zero_entries,
        ROOMY.max_events(Some(0))
    ),
    law!(
        the_newest_entry_stays_however_large_it_is,
        ROOMY.max_bytes(1)
    ),
    law!(old_entries_are_removed_except_the_newest, SHORT),
    law!(a_read_of_removed_entries_fails, TEN),
];

async fn the_limit_on_entries_is_kept(log: Subject) {
    let mut history = History::of(&log);
    for seq in 1_u64..=35 {
        publish(&mut history, 1).await;
        assert_kept(&history, seq.saturating_sub(10)).await;
    }
}

/// A log may count some bytes more for each channel.
async fn the_limit_on_bytes_is_kept(log: Subject) {
    let mut history = History::of(&log);
    for n in 0..60 {
        publish(&mut history, n * 277 % 1500).await;
        let floor = history.floor().await;
        let most = 4096 - CHANNEL_BYTES;
        let floors = floor_of(&history, 4096)..=floor_of(&history, most);
        assert!(floors.contains(&floor), "{floor} in {floors:?}");
        assert_kept(&history, floor).await;
    }
    // An entry over the limit pushes out all others, and the next entry pushes it out.
    publish(&mut history, 10_000).await;
    assert_kept(&history, 60).await;
    publish(&mut history, 1).await;
    assert_kept(&history, 61).await;
}

/// The number of the newest entry that does not fit into this many bytes.
fn floor_of(history: &History, bytes: u64) -> u64 {
    let mut cost = 0;
    let newest_first = history.entries.iter().rev();
    let kept = newest_first.take_while(|entry| {
        cost += entry.cost();
        cost <= bytes
    });
    history.last() - kept.count() as u64
}

async fn the_newest_entry_stays_with_a_limit_of_zero_entries(log: Subject) {
    only_the_newest_stays(&log).await;
}

async fn the_newest_entry_stays_however_large_it_is(log: Subject) {
    only_the_newest_stays(&log).await;
}

async fn only_the_newest_stays(log: &Subject) {
    let mut history = History::of(log);
    for floor in 0..5 {
        publish(&mut history, 100).await;
        assert_kept(&history, floor).await;
    }
}

async fn old_entries_are_removed_except_the_newest(log: Subject) {
    let mut history = History::of(&log);
    for _ in 0..5 {
        publish(&mut history, 1).await;
    }
    wait_for_floor(&log, 4).await;
    assert_kept(&history, 4).await;
    publish(&mut history, 1).await;
    wait_for_floor(&log, 5).await;
    assert_kept(&history, 5).await;
}

async fn wait_for_floor(log: &Subject, floor: u64) {
    let start = Instant::now();
    while log.bounds().await.floor.seq < floor {
        assert!(start.elapsed() < PATIENCE, "old entries are not removed");
        sleep(Duration::from_millis(20)).await;
    }
}

async fn a_read_of_removed_entries_fails(log: Subject) {
    log.fill(25).await;
    for after in [0, 1, 14] {
        let page = log.read(after, 100, &[]).await;
        assert_eq!(page, Err(LogErrorKind::Trimmed { first: 16 }), "{after}");
    }
    let entries = log.read_all(15, &[]).await;
    assert_eq!(entries.len(), 10);
    assert_contiguous(&entries, 16);
}

/// Appends a body of this many bytes.
async fn publish(history: &mut History, bytes: usize) {
    history.append(event("a", vec![b'x'; bytes])).await;
}

/// Asserts that the log holds exactly the entries after `floor`.
async fn assert_kept(history: &History, floor: u64) {
    let bounds = history.log.bounds().await;
    assert_eq!(bounds.floor, history.place(floor));
    assert_eq!(bounds.last, history.place(history.last()));
    let kept = history.of_channels(&[], floor + 1..=history.last());
    assert_eq!(history.log.read_all(floor, &[]).await, kept);
}
