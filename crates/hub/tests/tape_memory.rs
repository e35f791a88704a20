//! The memory of the tapes beside their limit, `tape_bytes`. In a process of its own, because it counts
//! all allocations.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::alloc::System;

use cap::Cap;
use futures_util::FutureExt;
use futures_util::future::join_all;
use tidings_hub::{Event, Hub, Retention, SubscriptionStream};

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

const CHANNELS: usize = 2_000;
const TAPE_BYTES: usize = 8 << 20;
/// The bytes that the limit does not count for each channel with a reader: its entry in the directory, its
/// seats, and the last frame of the reader.
const CHANNEL_BYTES: usize = 256;
/// The entries that the log keeps, the outcomes of recent publishes, and the buffers of the hub's task.
const REST: usize = 1 << 20;

/// A hub whose channels all have a reader, and the memory that is allocated before the first event.
struct Tapes {
    hub: Hub,
    readers: Vec<SubscriptionStream>,
    before: usize,
}

impl Tapes {
    async fn new(channels: usize) -> Self {
        let hub = Hub::builder().tape_bytes(TAPE_BYTES).in_memory(
            Retention::in_memory()
                .max_bytes(200_000)
                .remembered_channels(0),
        );
        let readers = (0..channels).map(|n| hub.subscribe(format!("c/{n}")).resume_after(None));
        let mut readers: Vec<_> = readers.collect();
        for reader in &mut readers {
            assert!(reader.next().now_or_never().is_none());
        }
        let before = ALLOCATOR.allocated();
        Self {
            hub,
            readers,
            before,
        }
    }

    async fn publish(&self, channel: usize, bytes: usize, count: usize) {
        let event = || Event::new("x".repeat(bytes));
        let publish = |_| self.hub.publish(format!("c/{channel}"), event());
        for published in join_all((0..count).map(publish)).await {
            published.unwrap();
        }
    }

    fn read(&mut self, channel: usize) {
        let reader = &mut self.readers[channel];
        while let Some(frame) = reader.next().now_or_never() {
            frame.unwrap().unwrap();
        }
    }

    #[track_caller]
    fn check(&self, what: &str) {
        let held = ALLOCATOR.allocated().saturating_sub(self.before);
        eprintln!("{held} bytes {what}");
        let limit = TAPE_BYTES + TAPE_BYTES / 4 + self.readers.len() * CHANNEL_BYTES + REST;
        assert!(held <= limit, "{held} bytes {what}, over {limit}");
        assert!(
            held >= TAPE_BYTES / 3,
            "{held} bytes {what}, far below the limit"
        );
    }
}

#[tokio::test]
async fn tapes_stay_within_their_limit() {
    let mut tapes = Tapes::new(CHANNELS).await;
    // The tape of each channel grows to a block, and is emptied by the bursts of the others.
    for channel in 0..CHANNELS {
        tapes.publish(channel, 1_000, 70).await;
        tapes.read(channel);
    }
    tapes.check("after a burst to each channel");

    for channel in 0..CHANNELS {
        tapes.publish(channel, 1_000, 70).await;
    }
    tapes.check("after a burst to each channel that its reader has not read");

    for _ in 0..40 {
        for channel in 0..CHANNELS {
            tapes.publish(channel, 200, 1).await;
        }
    }
    tapes.check("after events in turn to all channels");

    for channel in 0..CHANNELS {
        tapes.read(channel);
    }
    tapes.check("after all readers have read them");

    for _ in 0..40 {
        for channel in 0..CHANNELS {
            tapes.publish(channel, 20, 1).await;
            tapes.read(channel);
        }
    }
    tapes.check("after small events that were read one by one");

    for n in 0..60_000 {
        tapes.publish(CHANNELS + n, 20, 1).await;
    }
    tapes.check("after an event to each of many channels without readers");

    let mut all = tapes.hub.subscribe_all(["c/*"]).resume_after(None);
    assert!(all.next().now_or_never().is_none());
    for n in 0..60_000 {
        tapes.publish(n % (2 * CHANNELS), 100, 1).await;
        if n % 7 == 0 {
            all.next().await.unwrap().unwrap();
        }
    }
    tapes.check("with a reader of all channels");
}
