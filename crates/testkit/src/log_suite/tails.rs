//! Laws of tails: the entries that a tail returns, its wake-ups and its errors.

use std::hint::spin_loop;

use futures_util::{FutureExt, StreamExt};
use tidings_hub::LogErrorKind;
use tidings_proto::Position;
use tokio::sync::watch;

use super::subject::{Subject, TailReader, assert_contiguous, event, must, within};
use super::{Law, TEN, law, other_epoch};

pub(super) const LAWS: &[Law] = &[
    law!(a_tail_returns_the_entries_that_reads_return),
    law!(a_tail_returns_later_entries),
    law!(a_waiting_tail_is_woken),
    law!(several_tails_return_every_entry),
    law!(a_tail_misses_nothing_while_others_append),
    law!(no_wake_up_is_lost),
    law!(a_long_history_is_returned_in_order),
    law!(a_tail_past_the_end_fails),
    law!(a_tail_from_another_epoch_fails, TEN),
    law!(a_tail_from_removed_entries_fails, TEN),
    law!(a_tail_that_is_too_slow_skips_nothing_silently, TEN),
];

async fn a_tail_returns_the_entries_that_reads_return(log: Subject) {
    log.fill(30).await;
    let read = log.read_all(0, &[]).await;
    for after in [0, 1, 17, 29] {
        let expected = &read[after..];
        let entries = log.tail(after as u64).await.take(expected.len()).await;
        assert_eq!(entries, expected);
    }
}

async fn a_tail_returns_later_entries(log: Subject) {
    let mut fresh = log.tail(0).await;
    log.fill(10).await;
    let mut start = log.tail(0).await;
    let mut middle = log.tail(4).await;
    let mut end = log.tail(10).await;
    log.fill(10).await;
    let read = log.read_all(0, &[]).await;
    assert_eq!(fresh.take(20).await, read);
    assert_eq!(start.take(20).await, read);
    assert_eq!(middle.take(16).await, read[4..]);
    assert_eq!(end.take(10).await, read[10..]);
    log.fill(1).await;
    for tail in [fresh, start, middle, end].each_mut() {
        assert_eq!(tail.next().await.unwrap().seq, 21);
    }
}

async fn a_waiting_tail_is_woken(log: Subject) {
    let mut tail = log.tail(0).await;
    for seq in 1..=10 {
        assert!(
            tail.tail.next().now_or_never().is_none(),
            "no entry was appended yet"
        );
        let (entry, ()) = tokio::join!(tail.next(), async {
            tokio::task::yield_now().await;
            log.publish("a", "x").await;
        });
        assert_eq!(entry.unwrap().seq, seq);
    }
}

async fn several_tails_return_every_entry(log: Subject) {
    log.fill(5).await;
    let start = log.position(0).await;
    let mut tails: Vec<_> = (0..16).map(|_| log.tail_from(&start)).collect();
    let mut first = tails.remove(0);
    first.take(3).await;
    drop(first);
    log.fill(5).await;
    let read = log.read_all(0, &[]).await;
    for tail in &mut tails {
        assert_eq!(tail.take(10).await, read);
    }
}

async fn a_tail_misses_nothing_while_others_append(log: Subject) {
    let appending: Vec<_> = (0..4)
        .map(|_| {
            let log = log.clone();
            tokio::spawn(async move { log.fill(250).await })
        })
        .collect();
    let mut entries = Vec::new();
    // A new tail again and again, while the log grows.
    while entries.len() < 1_000 {
        let mut tail = log.tail(entries.len() as u64).await;
        let count = 100.min(1_000 - entries.len());
        entries.extend(tail.take(count).await);
    }
    for task in appending {
        task.await.unwrap();
    }
    assert_contiguous(&entries, 1);
    assert_eq!(entries, log.read_all(0, &[]).await);
}

/// Several tails wait at the same time; each append must wake each of them.
async fn no_wake_up_is_lost(log: Subject) {
    let start = log.newest().await;
    let mut readers: Vec<_> = (0..4).map(|_| newest_seq(log.tail_from(&start))).collect();
    for round in 0..1_000 {
        log.publish("a", "x").await;
        // The second append happens at any moment while the first is read. No later append would
        // make up for a lost wake-up.
        for _ in 0..10 * round {
            spin_loop();
        }
        let last = log.publish("a", "x").await;
        for newest in &mut readers {
            within(newest.wait_for(|seq| *seq == last)).await.unwrap();
        }
    }
}

/// The sequence number of the newest entry that a tail has returned to a task of its own.
fn newest_seq(mut reader: TailReader) -> watch::Receiver<u64> {
    let (sender, newest) = watch::channel(0);
    tokio::spawn(async move {
        while let Some(batch) = reader.tail.next().await {
            let newest = batch.unwrap().last().map(|entry| entry.seq);
            if sender.send(newest.unwrap()).is_err() {
                break;
            }
        }
    });
    newest
}

async fn a_long_history_is_returned_in_order(log: Subject) {
    let body = vec![b'x'; 1_000];
    let calls: Vec<_> = (0..5_000)
        .map(|_| log.0.append(event("a", body.clone())))
        .collect();
    for call in calls {
        must(call).await;
    }
    let entries = log.tail(0).await.take(5_000).await;
    assert_contiguous(&entries, 1);
}

async fn a_tail_past_the_end_fails(log: Subject) {
    for last in 0..2 {
        let newest = log.newest().await;
        for seq in [last + 1, last + 2, u64::MAX] {
            let past = Position {
                seq,
                ..newest.clone()
            };
            let error = log.tail_from(&past).error().await;
            assert_eq!(error, LogErrorKind::Rewound { last }, "{past}");
        }
        log.publish("a", "x").await;
    }
}

/// Also if the next entry was removed: the IDs of another log say nothing about this one.
async fn a_tail_from_another_epoch_fails(log: Subject) {
    let start = log.newest().await;
    log.fill(25).await;
    for position in [start, log.position(15).await, log.newest().await] {
        let other = Position {
            epoch: other_epoch(),
            ..position
        };
        let error = log.tail_from(&other).error().await;
        assert_eq!(error, LogErrorKind::Rewound { last: 25 }, "{other}");
    }
}

async fn a_tail_from_removed_entries_fails(log: Subject) {
    let mut removed = vec![log.newest().await];
    for _ in 0..25 {
        log.fill(1).await;
        removed.push(log.newest().await);
    }
    for after in [0, 1, 14] {
        let error = log.tail_from(&removed[after]).error().await;
        assert_eq!(error, LogErrorKind::Trimmed { first: 16 }, "{after}");
    }
    let entries = log.tail_from(&removed[15]).take(10).await;
    assert_contiguous(&entries, 16);
}

async fn a_tail_that_is_too_slow_skips_nothing_silently(log: Subject) {
    log.fill(1).await;
    let mut tail = log.tail(0).await;
    assert_eq!(tail.next().await.unwrap().seq, 1);
    log.fill(99).await;
    // It may still return entries that it has already fetched.
    let mut at = 1;
    while at < 100 {
        match tail.next().await {
            Ok(entry) => assert_eq!(entry.seq, at + 1),
            Err(error) => {
                let LogErrorKind::Trimmed { first } = error.kind() else {
                    unreachable!("{error:?}");
                };
                assert!(first > at + 1, "entry {first} was available");
                assert!(within(tail.tail.next()).await.is_none());
                return;
            }
        }
        at += 1;
    }
}
