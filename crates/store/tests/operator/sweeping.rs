//! The check of a store whose index is being swept in many steps.

use tidings_hub::{ChannelName, Draft, Log, Retention};
use tidings_store::StoreLog;
use tidings_testkit::temp_dir::TempDir;

const CHANNELS: usize = 2_000;

/// Each round appends an event to each channel, and so removes one of each, which the index shows only after
/// a sweep of many steps.
#[tokio::test]
async fn a_store_is_sound_while_its_index_is_swept() {
    let dir = TempDir::in_memory();
    let retention = Retention::durable().max_events(Some(2 * CHANNELS as u64));
    let log = StoreLog::options()
        .retention(retention)
        .index_batch(500)
        .open(dir.join("events.db"))
        .unwrap();
    for _ in 0..5 {
        // The channels in another order than their numbers, so that each batch is of all of them.
        for first in 0..10 {
            append_to(&log, (first..CHANNELS).step_by(10)).await;
            let report = log.check().unwrap();
            assert!(report.is_sound(), "{report}");
        }
    }
}

async fn append_to(log: &StoreLog, channels: impl Iterator<Item = usize>) {
    let appends = channels.map(|channel| {
        let name = ChannelName::new(format!("c/{channel}")).unwrap();
        log.append(Draft::event(name, "data: x\n\n"))
    });
    let appends: Vec<_> = appends.collect();
    for append in appends {
        append.await.unwrap();
    }
}
