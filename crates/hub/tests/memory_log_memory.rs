//! The memory that entries, channels and keys take. In a process of its own, because it counts all
//! allocations.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::alloc::System;
use std::sync::Arc;

use cap::Cap;
use futures_util::{FutureExt, StreamExt};
use tidings_hub::{ChannelName, Draft, KEY_LIFETIME, Log, MemoryLog, Retention};
use tokio::time::advance;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

const ENTRIES: usize = 250_000;
const BODY: usize = 100;

/// One test, because tests of one process would count each other's allocations.
#[tokio::test(start_paused = true)]
async fn a_log_takes_the_memory_that_it_counts_and_frees_all_of_it() {
    entries_and_keys().await;
    for body in [0, BODY, 1_000, 5_000] {
        stays_within_its_bound("in one channel", body, |_| 0);
        stays_within_its_bound("in channels of ten", body, |n| {
            n / 100_000 + n * 7_919 % 10_000
        });
        stays_within_its_bound("each in its own channel", body, |n| n);
    }
    remembered_channels();
    channels_that_are_gone();
}

async fn entries_and_keys() {
    let log = MemoryLog::new(Retention::in_memory());
    let news = ChannelName::new("news").unwrap();
    let before = ALLOCATOR.allocated();
    let held = |what: &str| per(what, before, ENTRIES);
    for _ in 0..ENTRIES {
        append(&log, &news, None);
    }
    assert!(held("an entry") <= BODY + 72);

    // Reading allocates nothing that stays.
    let bounds = log.bounds().await.unwrap();
    let mut tail = log.tail(&bounds.floor.in_epoch(&bounds.epoch));
    let mut read = 0;
    while read < ENTRIES {
        read += tail.next().await.unwrap().unwrap().len();
    }
    assert!(held("an entry that was read") <= BODY + 72);
    trim_often(&log, &news);
    assert_eq!(held("left of each entry"), 0);

    for n in 0..ENTRIES {
        append(&log, &news, Some(format!("{n:0100}").into()));
        log.trim(u64::MAX);
    }
    assert!(held("a key, however long") <= 128);
    advance(KEY_LIFETIME).await;
    for _ in 0..ENTRIES / 64 {
        append(&log, &news, None);
    }
    trim_often(&log, &news);
    assert_eq!(held("left of each key"), 0);
}

/// The log takes at most 256 KiB more than its retention says: the blocks of small bodies that are in use
/// in part.
fn stays_within_its_bound(what: &str, body: usize, channel: impl Fn(usize) -> usize) {
    const MAX: usize = 24 << 20;
    let before = ALLOCATOR.allocated();
    let retention = Retention::in_memory().max_bytes(MAX as u64);
    let log = MemoryLog::new(retention.remembered_channels(0));
    let mut most = 0;
    let appends = 4 * MAX / (body + 200);
    for n in 0..appends {
        let name = name(channel(n));
        let draft = Draft::event(name, vec![b'x'; body]);
        log.append(draft).now_or_never().unwrap().unwrap();
        if n % 64 == 0 {
            most = most.max(ALLOCATOR.allocated() - before);
        }
    }
    let bounds = log.bounds().now_or_never().unwrap().unwrap();
    let held = appends - usize::try_from(bounds.floor.seq).unwrap();
    let now = ALLOCATOR.allocated() - before;
    eprintln!(
        "{body} bytes, {what}: {held} entries take {} bytes each beside the body; at most {most} of {MAX}",
        now / held - body,
    );
    assert!(most <= MAX + (256 << 10), "{what}: {most}");
}

fn remembered_channels() {
    const CHANNELS: usize = 100_000;
    let log = MemoryLog::new(Retention::in_memory().max_events(Some(1)));
    let before = ALLOCATOR.allocated();
    for n in 0..2 * CHANNELS {
        let draft = Draft::event(name(n), "x");
        log.append(draft).now_or_never().unwrap().unwrap();
    }
    assert!(per("a channel that is remembered", before, CHANNELS) <= 300);
    for n in 2 * CHANNELS..4 * CHANNELS {
        log.append(Draft::end(name(n)))
            .now_or_never()
            .unwrap()
            .unwrap();
    }
    assert!(per("such a channel, or an end", before, 2 * CHANNELS) <= 300);
}

/// After a burst of channels, the memory is free again.
fn channels_that_are_gone() {
    let log = MemoryLog::new(Retention::in_memory().remembered_channels(100));
    let before = ALLOCATOR.allocated();
    for n in 0..ENTRIES {
        let draft = Draft::event(name(n), "x");
        log.append(draft).now_or_never().unwrap().unwrap();
    }
    per("a channel of one entry", before, ENTRIES);
    trim_often(&log, &name(0));
    assert_eq!(per("left of each channel", before, ENTRIES), 0);
}

fn per(what: &str, before: usize, count: usize) -> usize {
    let bytes = (ALLOCATOR.allocated() - before) / count;
    eprintln!("{bytes} bytes {what}");
    bytes
}

fn name(n: usize) -> ChannelName {
    ChannelName::new(format!("{n}")).unwrap()
}

fn append(log: &MemoryLog, channel: &ChannelName, key: Option<Arc<str>>) {
    let mut draft = Draft::event(channel.clone(), vec![b'x'; BODY]);
    draft.key = key;
    log.append(draft).now_or_never().unwrap().unwrap();
}

/// Appends and trims a few times; each time the log may free some memory.
fn trim_often(log: &MemoryLog, news: &ChannelName) {
    for _ in 0..20 {
        append(log, news, None);
        log.trim(u64::MAX);
    }
}
