//! Laws of reading: the entries of a page.

use tidings_hub::{Entry, LogErrorKind, PAGE_BYTES, Page, Pattern};

use super::subject::{Subject, event, must, patterns_of, seqs};
use super::{Law, law};

pub(super) const LAWS: &[Law] = &[
    law!(a_page_contains_only_the_requested_entries),
    law!(pages_together_contain_every_requested_entry),
    law!(rare_entries_are_found_among_many),
    law!(a_page_at_the_end_is_empty),
    law!(a_read_past_the_end_fails),
    law!(a_limit_of_zero_counts_as_one),
    law!(a_page_of_large_entries_is_short),
];

/// Patterns that match all channels, one, several, some twice, or none.
const PATTERNS: &[&[&str]] = &[
    &[],
    &["a"],
    &["a/*"],
    &["a", "a/*"],
    &["a/b", "a/*", "c"],
    &["b", "b/*"],
];

async fn a_page_contains_only_the_requested_entries(log: Subject) {
    log.fill(24).await;
    let entries = log.read_all(0, &[]).await;
    for texts in PATTERNS {
        let patterns = patterns_of(texts);
        for after in [0, 1, 7, 12, 23, 24] {
            for up_to in [0, after, after + 1, 13, 24, 25, u64::MAX] {
                for limit in [1, 3, 100] {
                    let page = log.read(after, up_to, &patterns, limit).await.unwrap();
                    let case = format!("{texts:?} {after} {up_to} {limit}: {page:?}");
                    assert!(
                        is_right(&page, &entries, after, up_to, &patterns, limit),
                        "{case}"
                    );
                }
            }
        }
    }
}

/// Whether a log may return this page.
fn is_right(
    page: &Page,
    all: &[Entry],
    after: u64,
    up_to: u64,
    patterns: &[Pattern],
    limit: usize,
) -> bool {
    let end = up_to.min(all.len() as u64).max(after);
    let matches =
        |entry: &&Entry| patterns.is_empty() || patterns.iter().any(|p| p.matches(&entry.channel));
    let found = all.iter().filter(matches);
    let found = found.filter(|entry| after < entry.seq && entry.seq <= page.through);
    let makes_progress = page.through > after || end == after;
    makes_progress && page.through <= end && page.entries.len() <= limit && found.eq(&page.entries)
}

async fn pages_together_contain_every_requested_entry(log: Subject) {
    log.fill(50).await;
    for texts in PATTERNS {
        let patterns = patterns_of(texts);
        for limit in [1, 2, 7, 1000] {
            let mut found = Vec::new();
            let mut at = 0;
            while at < 50 {
                let page = log.read(at, u64::MAX, &patterns, limit).await.unwrap();
                assert!(page.through > at, "a page makes progress");
                at = page.through;
                found.extend(page.entries);
            }
            let expected = log.read_all(0, texts).await;
            assert_eq!(found, expected, "{texts:?} by {limit}");
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
    assert_eq!(log.read_all(0, &["none", "much/*"]).await, []);
}

async fn a_page_at_the_end_is_empty(log: Subject) {
    log.fill(5).await;
    for patterns in [patterns_of(&[]), patterns_of(&["a"])] {
        let page = log.read(5, u64::MAX, &patterns, 10).await.unwrap();
        assert_eq!((page.entries, page.through), (vec![], 5));
    }
}

async fn a_read_past_the_end_fails(log: Subject) {
    for last in 0..3 {
        for after in [last + 1, last + 2, u64::MAX - 1, u64::MAX] {
            let page = log.read(after, u64::MAX, &[], 10).await;
            let kind = page.map_err(|error| error.kind());
            assert_eq!(kind, Err(LogErrorKind::Rewound { last }), "{after}");
        }
        log.publish("a", "x").await;
    }
}

async fn a_limit_of_zero_counts_as_one(log: Subject) {
    log.fill(3).await;
    let page = log.read(0, u64::MAX, &[], 0).await.unwrap();
    assert_eq!((seqs(&page.entries), page.through), (vec![1], 1));
}

async fn a_page_of_large_entries_is_short(log: Subject) {
    let body = "x".repeat(PAGE_BYTES / 2 - 100);
    for _ in 0..5 {
        log.publish("a", body.as_str()).await;
    }
    log.publish("a", "x".repeat(PAGE_BYTES * 2)).await;
    let (mut after, mut lengths) = (0, Vec::new());
    while after < 6 {
        let page = log.read(after, u64::MAX, &[], 100).await.unwrap();
        lengths.push(page.entries.len());
        after = page.through;
    }
    assert_eq!(lengths, [2, 2, 1, 1]);
}
