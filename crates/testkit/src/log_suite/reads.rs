//! Laws of reading: the entries of a page.

use tidings_hub::{Entry, LogErrorKind, PAGE_BYTES, Page};
use tidings_proto::Position;

use super::subject::{Subject, event, must, patterns_of, place_of, seqs};
use super::{Law, TEN, law, other_epoch};

pub(super) const LAWS: &[Law] = &[
    law!(a_page_contains_only_the_requested_entries),
    law!(pages_together_contain_every_requested_entry),
    law!(rare_entries_are_found_among_many),
    law!(a_page_at_the_end_is_empty),
    law!(a_read_up_to_a_position_past_the_end_fails),
    law!(a_read_up_to_a_position_of_another_epoch_fails),
    law!(a_read_up_to_a_removed_position_is_empty, TEN),
    law!(a_limit_of_zero_counts_as_one),
    law!(a_page_of_large_entries_is_short),
];

/// Channels and patterns that match all entries, those of one channel, of several, some twice, or none.
const CHANNELS: &[&[&str]] = &[
    &[],
    &["a"],
    &["a/*"],
    &["a", "c"],
    &["c", "a"],
    &["a", "a"],
    &["a", "a/*"],
    &["a/b", "a/*", "c"],
    &["b", "b/*"],
    &["b", "c"],
];

async fn a_page_contains_only_the_requested_entries(log: Subject) {
    log.fill(24).await;
    log.end("c").await;
    let all = log.read_all(0, &[]).await;
    for channels in CHANNELS {
        for newest in [0, 1, 7, 13, 24, 25] {
            let newest = log.position(newest).await;
            for after in [0, 1, 7, 12, 24, 25] {
                for limit in [1, 3, 100] {
                    let page = log.read_to(&newest, after, limit, channels).await.unwrap();
                    let case = format!("{channels:?} {newest} {after} {limit}: {page:?}");
                    let end = newest.seq.max(after);
                    assert!(page.entries.len() <= limit, "{case}");
                    assert!(is_right(&page, &all, after, end, channels), "{case}");
                }
            }
        }
    }
}

/// Whether a log may return this page of the entries after `after`, up to `end`.
fn is_right(page: &Page, all: &[Entry], after: u64, end: u64, channels: &[&str]) -> bool {
    let patterns = patterns_of(channels);
    let found = all.iter().filter(|entry| {
        (after < entry.seq && entry.seq <= page.through)
            && (patterns.is_empty() || patterns.iter().any(|p| p.matches(&entry.channel)))
    });
    let makes_progress = page.through > after || end == after;
    makes_progress && page.through <= end && found.eq(&page.entries)
}

async fn pages_together_contain_every_requested_entry(log: Subject) {
    log.fill(50).await;
    let all = log.read_all(0, &[]).await;
    for channels in CHANNELS {
        let patterns = patterns_of(channels);
        let matches = |entry: &&Entry| {
            patterns.is_empty() || patterns.iter().any(|p| p.matches(&entry.channel))
        };
        let expected: Vec<_> = all.iter().filter(matches).cloned().collect();
        for limit in [1, 2, 7, 1000] {
            let found = log.read_in_pages(0, limit, channels).await;
            assert_eq!(found, expected, "{channels:?} by {limit}");
        }
    }
    let below: Vec<_> = (2..=50).step_by(3).collect();
    assert_eq!(seqs(&log.read_all(0, &["a/*"]).await), below);
}

async fn rare_entries_are_found_among_many(log: Subject) {
    log.publish("rare", "first").await;
    let calls: Vec<_> = (0..10_000)
        .map(|_| log.0.append(event("much", "x")))
        .collect();
    for call in calls {
        must(call).await;
    }
    log.publish("rare", "last").await;
    assert_eq!(seqs(&log.read_all(0, &["rare"]).await), [1, 10_002]);
    assert_eq!(seqs(&log.read_all(1, &["rare", "none/*"]).await), [10_002]);
    assert_eq!(seqs(&log.read_all(0, &["none", "rare"]).await), [1, 10_002]);
    assert_eq!(log.read_all(0, &["none", "much/*"]).await, []);
}

async fn a_page_at_the_end_is_empty(log: Subject) {
    log.fill(5).await;
    for channels in [&[][..], &["a"], &["a/*"], &["none"]] {
        let page = log.read(5, 10, channels).await.unwrap();
        assert_eq!((page.entries, page.through), (vec![], 5));
    }
}

async fn a_read_up_to_a_position_past_the_end_fails(log: Subject) {
    for last in 0..3 {
        let newest = log.newest().await;
        for seq in [last + 1, last + 2, u64::MAX] {
            let past = Position {
                seq,
                ..newest.clone()
            };
            for channels in [&[][..], &["a"]] {
                let page = log.read_to(&past, 0, 10, channels).await;
                assert_eq!(page, Err(LogErrorKind::Rewound { last }), "{past}");
            }
        }
        log.publish("a", "x").await;
    }
}

async fn a_read_up_to_a_position_of_another_epoch_fails(log: Subject) {
    let start = log.newest().await;
    log.fill(5).await;
    for position in [start, log.position(2).await, log.newest().await] {
        let other = Position {
            epoch: other_epoch(),
            ..position
        };
        let page = log.read_to(&other, 0, 10, &[]).await;
        assert_eq!(page, Err(LogErrorKind::Rewound { last: 5 }), "{other}");
    }
}

/// A newest entry that was removed by the retention counts as held.
async fn a_read_up_to_a_removed_position_is_empty(log: Subject) {
    log.fill(5).await;
    let epoch = log.bounds().await.epoch;
    let entries = log.read_all(0, &[]).await;
    log.fill(20).await;
    for entry in &entries {
        let newest = place_of(entry).in_epoch(&epoch);
        let page = log.read_to(&newest, entry.seq, 10, &[]).await.unwrap();
        assert_eq!((page.entries, page.through), (vec![], entry.seq));
    }
}

async fn a_limit_of_zero_counts_as_one(log: Subject) {
    log.fill(3).await;
    let page = log.read(0, 0, &[]).await.unwrap();
    assert_eq!((seqs(&page.entries), page.through), (vec![1], 1));
    let below = log.read_in_pages(0, 0, &["a/*"]).await;
    assert_eq!(seqs(&below), [2]);
}

async fn a_page_of_large_entries_is_short(log: Subject) {
    let body = "x".repeat(PAGE_BYTES / 2 - 100);
    for _ in 0..5 {
        log.publish("a", body.as_str()).await;
    }
    log.publish("a", "x".repeat(PAGE_BYTES * 2)).await;
    for channels in [&[][..], &["a"], &["a/*", "a"]] {
        let (mut after, mut lengths) = (0, Vec::new());
        while after < 6 {
            let page = log.read(after, 100, channels).await.unwrap();
            lengths.push(page.entries.len());
            after = page.through;
        }
        assert_eq!(lengths, [2, 2, 1, 1], "{channels:?}");
    }
}
