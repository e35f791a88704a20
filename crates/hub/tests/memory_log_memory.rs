//! What an entry costs in memory. A process of its own, as it counts all that is held.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::alloc::System;

use bytes::Bytes;
use cap::Cap;
use futures_util::{FutureExt, StreamExt};
use tidings_hub::{ChannelName, Draft, EntryKind, Log, MemoryLog, Retention};

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

const ENTRIES: usize = 1_000_000;
const BODY: usize = 100;

#[test]
fn an_entry_costs_its_body_and_little_more_and_all_is_given_back() {
    let channel = ChannelName::new("news").unwrap();
    let before = ALLOCATOR.allocated();
    let log = MemoryLog::new(Retention::in_memory());
    for _ in 0..ENTRIES {
        let draft = Draft {
            channel: channel.clone(),
            kind: EntryKind::Event,
            body: Bytes::from(vec![b'x'; BODY].into_boxed_slice()),
            key: None,
        };
        log.append(draft).now_or_never().unwrap().unwrap();
    }
    let appended = (ALLOCATOR.allocated() - before) / ENTRIES;
    eprintln!("{appended} bytes an entry");
    assert!(appended <= BODY + 96, "{appended}");

    // A body that was read is shared from then on, which costs a count.
    let mut tail = log.tail(0);
    let mut heard = 0;
    while heard < ENTRIES {
        heard += tail.next().now_or_never().unwrap().unwrap().unwrap().len();
    }
    let read = (ALLOCATOR.allocated() - before) / ENTRIES;
    eprintln!("{read} bytes an entry that was read");
    assert!(read <= BODY + 128, "{read}");

    log.trim(u64::MAX);
    let draft = |n: usize| Draft {
        channel: channel.clone(),
        kind: EntryKind::Event,
        body: Bytes::from(vec![b'x'; n]),
        key: None,
    };
    for n in 1..100 {
        log.append(draft(n)).now_or_never().unwrap().unwrap();
        log.trim(u64::MAX);
    }
    let left = ALLOCATOR.allocated() - before;
    assert!(left < 1 << 20, "{left} bytes are left");
}
