//! A log in memory, compared with a plain list of every entry that it has stored.

use tidings_hub::MemoryLog;
use tidings_testkit::log_model::{self, Cases};
use tidings_testkit::model_log::LogKind;

/// The bytes that a log in memory counts for a channel that has entries.
const CHANNEL_BYTES: u64 = 256;

/// So many that the log searches the entries of a pattern instead of merging the channels.
const MANY: u16 = 300;

#[test]
fn a_memory_log_behaves_like_a_list_that_knows_its_channels() {
    let cases = Cases {
        count: 2_000,
        steps: 120,
        channels: 0,
        max_events: 12,
        max_bytes: 3_000,
        channel_bytes: CHANNEL_BYTES,
        remembered: &[0, 1, 2, 100],
        burst: 1,
    };
    log_model::check(&cases, &LogKind::new("Memory", MemoryLog::new));
}

#[test]
fn a_memory_log_of_many_channels_behaves_like_a_list_too() {
    let cases = Cases {
        count: 2_000,
        steps: 40,
        channels: MANY.into(),
        max_events: u64::from(MANY) + 5,
        max_bytes: 256 << 20,
        channel_bytes: CHANNEL_BYTES,
        remembered: &[5, 1_000],
        burst: 1,
    };
    log_model::check(&cases, &LogKind::new("Memory", MemoryLog::new));
}
