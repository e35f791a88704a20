//! A log in memory: the guarantees of every log, and what only this one has.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use tidings_hub::{
    ChannelName, Draft, Entry, KEY_LIFETIME, Located, Log, LogError, LogErrorKind, MemoryLog,
    Pattern, Place, Position, Retention, Scope, Start, Tail, TooManyKeys,
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
    let start = &MemoryLog::default().bounds().await.unwrap().newest();
    let looks: [fn(&MemoryLog, &Position); 7] = [
        |log, _| drop(log.bounds()),
        |log, _| drop(log.ends()),
        |log, _| drop(log.channel(&name("a"))),
        |log, _| drop(log.channels(None, 9)),
        |log, start| drop(log.locate(Start::Earliest, Scope::all(start))),
        |log, start| drop(log.read(5, 1, Scope::all(start))),
        |log, start| drop(log.tail(start)),
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
        look(&log, start);
        assert!(format!("{log:?}").contains("first: 2"), "{log:?}");
        advance(100 * SECOND).await;
        let newest = newest(&log).await;
        let trimmed = log.read(3, 9, Scope::all(&newest)).await.unwrap_err();
        assert_eq!(trimmed.kind(), LogErrorKind::Trimmed { first: 5 });
        assert_eq!(read(&log, 4).await.len(), 1, "the newest stays");
        append(&log, "x").await;
        assert_eq!(log.bounds().await.unwrap().floor.seq, 5);
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
    let log = MemoryLog::new(Retention::in_memory().max_events(Some(1)));
    append_key(&log, "first").await.unwrap();
    advance(SECOND).await;
    for n in 1..1_000_000 {
        append_key(&log, &n.to_string()).await.unwrap();
    }
    let refused = append_key(&log, "one too many").await.unwrap_err();
    assert!(refused.source().unwrap().is::<TooManyKeys>(), "{refused:?}");
    assert_eq!(log.bounds().await.unwrap().last.seq, 1_000_000);
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
    let mut slow = log.tail(&at(&log, 1).await);
    let third = read(&log, 2).await[0].clone();
    log.trim(4);
    log.trim(2);
    let bounds = log.bounds().await.unwrap();
    assert_eq!((bounds.floor.seq, bounds.last.seq), (3, 5));
    assert_eq!(bounds.floor.check, third.check());
    let trimmed = receive(&mut slow).await.unwrap_err();
    assert_eq!(trimmed.kind(), LogErrorKind::Trimmed { first: 4 });
    log.trim(u64::MAX);
    assert_eq!(log.bounds().await.unwrap().floor.seq, 4);
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
    let start = &at(&log, 0).await;
    let mut past = [log.tail(start), log.tail(start)];
    for tail in &mut past {
        assert_eq!(receive(tail).await.unwrap().len(), 5);
        assert!(tail.next().now_or_never().is_none());
    }
    let mut at_the_cut = log.tail(&at(&log, 3).await);
    let mut before_it = log.tail(&at(&log, 1).await);
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
        (bounds.floor.seq, bounds.last.seq),
        (2, 2),
        "trimmed entries stay removed"
    );
    assert_eq!(append_key(&log, "new").await.unwrap(), (3, false));
}

#[tokio::test]
async fn a_read_examines_a_limited_number_of_entries_and_returns_how_far_it_came() {
    let log = filled(20_000).await;
    fill_many(&log, 300).await;
    let newest = &newest(&log).await;
    let many = [Pattern::new("many/*").unwrap()];
    let page = log.read(0, 10, Scope::new(&many, newest)).await.unwrap();
    assert_eq!((page.entries.len(), page.through), (0, 8_192));
    let page = log.read(19_000, 10, Scope::new(&many, newest)).await;
    assert_eq!(page.unwrap().through, 20_010);
    // Many patterns count as much as many entries.
    let mut patterns: Vec<_> = (0..100_000)
        .map(|n| Pattern::new(format!("none/{n}")).unwrap())
        .collect();
    patterns.push(many[0].clone());
    let page = log
        .read(5, 10, Scope::new(&patterns, newest))
        .await
        .unwrap();
    assert_eq!(page.through, 6);
}

#[tokio::test]
async fn a_search_for_few_channels_among_many_entries_yields() {
    let log = filled_many(300).await;
    for _ in 0..20_000 {
        append(&log, "x").await;
    }
    let newest = &newest(&log).await;
    let locate = async |pattern: &str, count| {
        let patterns = [Pattern::new(pattern).unwrap()];
        let scope = Scope::new(&patterns, newest);
        let at_once = log.locate(Start::Last(count), scope).now_or_never();
        let located = log.locate(Start::Last(count), scope).await.unwrap();
        (at_once.is_none(), located)
    };
    for (pattern, count, yields, before) in [
        ("many/*", 2, true, 298),
        ("many/*", 1_000, true, 0),
        ("many/7", 1, false, 7),
        ("a", 20_000, false, 300),
        ("none/*", 5, false, 20_300),
    ] {
        let (has_yielded, located) = locate(pattern, count).await;
        assert_eq!(has_yielded, yields, "{pattern}");
        let Located::Held { place, missed: 0 } = located else {
            panic!("{located:?}");
        };
        assert_eq!(place.seq, before, "{pattern}");
    }
}

#[tokio::test]
async fn a_page_of_channels_is_found_among_many_that_are_only_remembered() {
    let log = filled_many(20_000).await;
    append(&log, "x").await;
    log.append(Draft::end(name("z"))).await.unwrap();
    log.trim(20_001);
    assert!(log.channels(Some(&name("b")), 9).now_or_never().is_none());
    let page = log.channels(Some(&name("b")), 9).await.unwrap();
    let names: Vec<_> = page.iter().map(|channel| channel.name.as_str()).collect();
    assert_eq!(names, ["z"]);
    assert!(log.channels(Some(&name("z")), 9).await.unwrap().is_empty());
}

/// More channels would delay appends, so the loss is that of the whole log.
#[tokio::test]
async fn a_loss_below_a_pattern_is_exact_for_8192_channels() {
    assert_eq!(missed_of_none_among(8_192).await, (0, true));
    assert_eq!(missed_of_none_among(8_193).await, (1, false));
}

/// The missed events of a subscriber of so many channels that has received all of theirs, and whether it may
/// read on. One event of another channel was removed since.
async fn missed_of_none_among(channels: u64) -> (u64, bool) {
    let log = filled_many(usize::try_from(channels).unwrap()).await;
    append(&log, "x").await;
    append(&log, "x").await;
    log.trim(channels + 2);
    let newest = &newest(&log).await;
    let patterns = [Pattern::new("many/*").unwrap()];
    let missed = async |after| {
        let place = at(&log, after).await;
        let start = Start::After(Place::from(&place));
        let located = log.locate(start, Scope::new(&patterns, newest)).await;
        let page = log.read(after, 1, Scope::new(&patterns, newest)).await;
        match located.unwrap() {
            Located::Held { missed, .. } => (missed, page.is_ok()),
            Located::Unknown { last } => panic!("{last}"),
        }
    };
    let (all, is_whole) = missed(0).await;
    let expected = channels..=channels + 1;
    assert!(expected.contains(&all) && !is_whole, "{all}");
    missed(channels).await
}

#[tokio::test]
async fn a_page_of_channels_hashes_a_limited_number_of_bytes() {
    let log = MemoryLog::default();
    for n in 0..5 {
        let draft = Draft::event(name(&format!("many/{n}")), vec![b'x'; 100 << 10]);
        log.append(draft).await.unwrap();
    }
    let page = log.channels(None, 9).await.unwrap();
    assert_eq!(page.len(), 2);
    let page = log.channels(Some(&page[1].name), 9).await.unwrap();
    assert_eq!(page[0].name, "many/2");
}

#[tokio::test]
async fn a_tail_batch_has_at_most_a_mebibyte_or_a_thousand_entries() {
    let log = filled(3_000).await;
    let mut tail = log.tail(&at(&log, 0).await);
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
    let start = log.bounds().now_or_never().unwrap().unwrap().newest();
    let mut tail = log.tail(&start);
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

async fn filled_many(channels: usize) -> MemoryLog {
    let log = MemoryLog::default();
    fill_many(&log, channels).await;
    log
}

/// Appends an event to each of many channels.
async fn fill_many(log: &MemoryLog, channels: usize) {
    for n in 0..channels {
        let draft = Draft::event(name(&format!("many/{n}")), "x");
        log.append(draft).await.unwrap();
    }
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
    let newest = newest(log).await;
    let page = log.read(after, 10_000, Scope::all(&newest)).await;
    page.unwrap().entries
}

async fn newest(log: &MemoryLog) -> Position {
    log.bounds().await.unwrap().newest()
}

/// The position of the entry with this number.
async fn at(log: &MemoryLog, seq: u64) -> Position {
    let epoch = log.bounds().await.unwrap().epoch;
    let place = match seq.checked_sub(1) {
        None => Place::start(),
        // Nothing is left to compare.
        Some(_) if seq < log.bounds().await.unwrap().floor.seq => Place {
            seq,
            ..Place::start()
        },
        Some(before) => Place {
            seq,
            check: read(log, before).await[0].check(),
        },
    };
    place.in_epoch(&epoch)
}

async fn receive(tail: &mut Tail) -> Result<Vec<Entry>, LogError> {
    timeout(5 * SECOND, tail.next()).await.unwrap().unwrap()
}
