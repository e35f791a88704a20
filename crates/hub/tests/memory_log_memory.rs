//! The memory that an entry and a key take. In a process of its own, because it counts all allocations.
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

#[tokio::test(start_paused = true)]
async fn entries_and_keys_take_little_memory_and_all_of_it_is_freed() {
    let log = MemoryLog::new(Retention::in_memory());
    let news = ChannelName::new("news").unwrap();
    let before = ALLOCATOR.allocated();
    let held = |what: &str| {
        let bytes = (ALLOCATOR.allocated() - before) / ENTRIES;
        eprintln!("{bytes} bytes {what}");
        bytes
    };
    for _ in 0..ENTRIES {
        append(&log, &news, None);
    }
    assert!(held("an entry") <= BODY + 80);

    // Reading allocates nothing that stays.
    let mut tail = log.tail(0);
    let mut read = 0;
    while read < ENTRIES {
        read += tail.next().await.unwrap().unwrap().len();
    }
    assert!(held("an entry that was read") <= BODY + 80);
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
