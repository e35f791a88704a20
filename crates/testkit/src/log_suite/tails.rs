//! What a tail gives.

use std::hint::spin_loop;

use futures_util::{FutureExt, StreamExt};
use tidings_hub::{LogError, Retention};
use tokio::sync::watch;

use super::subject::{Heard, Subject, assert_contiguous, event, must, within};
use super::{Law, ROOMY, law};

const SMALL: Retention = ROOMY.max_events(10);

pub(super) const LAWS: &[Law] = &[
    law!(a_tail_gives_what_is_read),
    law!(a_tail_hears_what_comes_later),
    law!(a_tail_that_waits_is_woken),
    law!(several_tails_hear_everything),
    law!(a_tail_misses_nothing_while_others_append),
    law!(no_wake_up_is_lost),
    law!(a_long_past_is_told_in_order),
    law!(a_tail_past_the_end_fails),
    law!(a_tail_from_what_was_forgotten_fails, SMALL),
    law!(a_tail_that_is_too_slow_has_no_hole, SMALL),
];

async fn a_tail_gives_what_is_read(log: Subject) {
    log.fill(30).await;
    let read = log.read_all(0, &[]).await;
    for after in [0, 1, 17, 29] {
        let expected = &read[after..];
        let heard = log.tail(after as u64).take(expected.len()).await;
        assert_eq!(heard, expected);
    }
}

async fn a_tail_hears_what_comes_later(log: Subject) {
    let mut fresh = log.tail(0);
    log.fill(10).await;
    let (mut start, mut middle, mut end) = (log.tail(0), log.tail(4), log.tail(10));
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

async fn a_tail_that_waits_is_woken(log: Subject) {
    let mut tail = log.tail(0);
    for seq in 1..=10 {
        assert!(
            tail.tail.next().now_or_never().is_none(),
            "nothing has come yet"
        );
        let (heard, ()) = tokio::join!(tail.next(), async {
            tokio::task::yield_now().await;
            log.publish("a", "x").await;
        });
        assert_eq!(heard.unwrap().seq, seq);
    }
}

async fn several_tails_hear_everything(log: Subject) {
    log.fill(5).await;
    let mut tails: Vec<_> = (0..16).map(|_| log.tail(0)).collect();
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
    let mut heard = Vec::new();
    // Attached again and again, wherever the log is by then.
    while heard.len() < 1_000 {
        let mut tail = log.tail(heard.len() as u64);
        let count = 100.min(1_000 - heard.len());
        heard.extend(tail.take(count).await);
    }
    for task in appending {
        task.await.unwrap();
    }
    assert_contiguous(&heard, 1);
    assert_eq!(heard, log.read_all(0, &[]).await);
}

/// Tails that wait at the same time, of which each is to be woken by each append.
async fn no_wake_up_is_lost(log: Subject) {
    let mut hearing: Vec<_> = (0..4).map(|_| count_heard(log.tail(0))).collect();
    for round in 0..1_000 {
        log.publish("a", "x").await;
        // The second comes at any moment while the first is heard, and nothing behind it tells of it.
        for _ in 0..10 * round {
            spin_loop();
        }
        let last = log.publish("a", "x").await;
        for heard in &mut hearing {
            within(heard.wait_for(|seq| *seq == last)).await.unwrap();
        }
    }
}

/// The place of the newest entry that a tail gave to a task of its own.
fn count_heard(mut heard: Heard) -> watch::Receiver<u64> {
    let (told, newest) = watch::channel(0);
    tokio::spawn(async move {
        while let Some(batch) = heard.tail.next().await {
            let newest = batch.unwrap().last().map(|entry| entry.seq);
            if told.send(newest.unwrap()).is_err() {
                break;
            }
        }
    });
    newest
}

async fn a_long_past_is_told_in_order(log: Subject) {
    let body = vec![b'x'; 1_000];
    let calls: Vec<_> = (0..5_000)
        .map(|_| log.0.append(event("a", body.clone())))
        .collect();
    for call in calls {
        must(call).await;
    }
    let heard = log.tail(0).take(5_000).await;
    assert_contiguous(&heard, 1);
}

async fn a_tail_past_the_end_fails(log: Subject) {
    for last in 0..2 {
        for after in [last + 1, last + 2, u64::MAX] {
            let error = log.tail(after).error().await;
            assert!(
                matches!(error, LogError::Rewound { last: end } if end == last),
                "{after}: {error:?}"
            );
        }
        log.publish("a", "x").await;
    }
}

async fn a_tail_from_what_was_forgotten_fails(log: Subject) {
    log.fill(25).await;
    for after in [0, 1, 14] {
        let error = log.tail(after).error().await;
        assert!(
            matches!(error, LogError::Trimmed { first: 16 }),
            "{after}: {error:?}"
        );
    }
    let heard = log.tail(15).take(10).await;
    assert_contiguous(&heard, 16);
}

async fn a_tail_that_is_too_slow_has_no_hole(log: Subject) {
    log.fill(1).await;
    let mut tail = log.tail(0);
    assert_eq!(tail.next().await.unwrap().seq, 1);
    log.fill(99).await;
    // What it has at hand it may still give.
    let mut at = 1;
    while at < 100 {
        match tail.next().await {
            Ok(entry) => assert_eq!(entry.seq, at + 1),
            Err(LogError::Trimmed { first }) => {
                assert!(first > at + 1, "{first} could be heard");
                assert!(within(tail.tail.next()).await.is_none());
                return;
            }
            other => unreachable!("{other:?}"),
        }
        at += 1;
    }
}
