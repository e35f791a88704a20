//! Tests of how tails end.

use std::sync::Arc;

use futures_util::{FutureExt, StreamExt};
use tidings_hub::{LogError, LogErrorKind, Place, Tail, random_epoch};
use tidings_proto::{EntryCheck, Position};

use super::stream;
use crate::questions::tests::TestStore;
use crate::shared::{Published, Shared};

/// A tail that waits, and its store.
fn waiting() -> (TestStore, Arc<Shared>, Tail) {
    let store = TestStore::new();
    let shared = store.share_empty();
    let mut tail = stream(Arc::clone(&shared), &newest(&shared));
    assert!(tail.next().now_or_never().is_none());
    (store, shared, tail)
}

fn newest(shared: &Shared) -> Position {
    shared.published().bounds().unwrap().newest()
}

/// The error of a tail that waits, after this change.
fn error_after(change: impl FnOnce(&mut Published)) -> LogErrorKind {
    let (_store, shared, mut tail) = waiting();
    shared.publish(change);
    let item = tail.next().now_or_never().flatten().unwrap();
    assert!(tail.next().now_or_never().unwrap().is_none());
    item.unwrap_err().kind()
}

fn place(seq: u64) -> Place {
    let check = EntryCheck::from_hash(seq);
    Place { seq, check }
}

#[test]
fn a_tail_that_waits_ends_with_the_reason() {
    let closed = error_after(|published| published.failure = Some(LogError::lost("closed")));
    assert_eq!(closed, LogErrorKind::Lost);
    let renewed = error_after(|published| published.epoch = random_epoch());
    assert_eq!(renewed, LogErrorKind::Lost);
    let removed = error_after(|published| {
        (published.floor, published.last) = (place(3), place(4));
    });
    assert_eq!(removed, LogErrorKind::Trimmed { first: 4 });
}

#[test]
fn a_tail_does_not_begin_at_a_position_that_the_log_never_had() {
    let (_store, shared, _tail) = waiting();
    shared.publish(|published| (published.floor, published.last) = (place(3), place(7)));
    let check = |position: Position, expected| {
        let mut tail = stream(Arc::clone(&shared), &position);
        let error = tail.next().now_or_never().flatten().unwrap().unwrap_err();
        assert_eq!(error.kind(), expected, "{position}");
    };
    let epoch = newest(&shared).epoch;
    let other = |seq| Place {
        seq,
        check: EntryCheck::from_hash(99),
    };
    let rewound = LogErrorKind::Rewound { last: 7 };
    let trimmed = LogErrorKind::Trimmed { first: 4 };
    check(place(8).in_epoch(&epoch), rewound);
    check(place(u64::MAX).in_epoch(&epoch), rewound);
    check(place(7).in_epoch(&random_epoch()), rewound);
    check(other(7).in_epoch(&epoch), rewound);
    check(other(3).in_epoch(&epoch), rewound);
    check(other(0).in_epoch(&epoch), rewound);
    check(other(2).in_epoch(&epoch), trimmed);
    check(Place::start().in_epoch(&epoch), trimmed);
}
