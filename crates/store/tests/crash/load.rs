//! `Load`: the events that a child publishes. Event `n` has the same channel, key and text in child and
//! parent.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidings_hub::Retention;
use tidings_store::{Durability, StoreLog, StoreOptions};

/// A publisher publishes this many events in a row, alone, so it knows when a channel ends.
pub(crate) const BLOCK: u64 = 8;

/// The interval of [`Sync::Interval`].
const INTERVAL: Duration = Duration::from_millis(20);

/// The work of a child.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Load {
    pub(crate) path: PathBuf,
    pub(crate) sync: Sync,
    pub(crate) max_events: Option<u64>,
    pub(crate) index_batch: usize,
    pub(crate) checkpoint_pages: u32,
    /// The number of the first event, a multiple of [`BLOCK`].
    pub(crate) first: u64,
    /// How often the child opens the store, and how many blocks of events it publishes each time.
    pub(crate) sessions: u64,
    pub(crate) blocks: u64,
    /// How many blocks are published at once.
    pub(crate) publishers: usize,
    /// Whether the events are so large that a few hundred of them fill the write-ahead log.
    pub(crate) is_large: bool,
    /// Whether the child removes old entries after some events.
    pub(crate) trims: bool,
    /// Whether the child makes a backup before it closes the store, and compacts the store afterwards.
    pub(crate) maintains: bool,
    pub(crate) end: End,
}

/// The durability of the child's store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Sync {
    EveryCommit,
    Interval,
    Buffered,
}

/// The last step of a child, after its last event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum End {
    Close,
    /// It exits without closing the store.
    Exit,
    /// It waits until it is killed.
    Wait,
    /// It waits for longer than the interval of the store, reports that, and exits without closing the store.
    Pause,
}

impl Load {
    pub(crate) fn options(&self) -> StoreOptions {
        let retention = Retention::durable().max_events(self.max_events);
        let durability = match self.sync {
            Sync::EveryCommit => Durability::EveryCommit,
            Sync::Interval => Durability::Interval(INTERVAL),
            Sync::Buffered => Durability::Buffered,
        };
        let options = StoreLog::options().retention(retention);
        let options = options.durability(durability).index_batch(self.index_batch);
        options.checkpoint_pages(self.checkpoint_pages)
    }

    /// The backup that a child makes after the events that begin with this one.
    pub(crate) fn backup(&self, first: u64) -> PathBuf {
        self.path.with_file_name(format!("backup-{first}.db"))
    }

    /// The number of the block of this event.
    fn block(n: u64) -> u64 {
        n / BLOCK
    }

    /// Whether the channel of this event has only the events of its block.
    fn is_brief(n: u64) -> bool {
        Self::block(n) % 4 == 3
    }

    pub(crate) fn channel(n: u64) -> String {
        if Self::is_brief(n) {
            format!("brief/{}", Self::block(n))
        } else {
            format!("room/{}", fastrand::Rng::with_seed(n).u64(..6))
        }
    }

    /// Whether `n` is the end of its channel.
    pub(crate) fn is_end(n: u64) -> bool {
        Self::is_brief(n) && n % BLOCK == BLOCK - 1
    }

    pub(crate) fn key(n: u64) -> Option<String> {
        (n.is_multiple_of(3) && !Self::is_end(n)).then(|| format!("key {n}"))
    }

    pub(crate) fn text(&self, n: u64) -> String {
        let mut rng = fastrand::Rng::with_seed(n ^ 0x7469_6467);
        let length = match rng.u64(..100) {
            _ if self.is_large => rng.usize(20_000..60_000),
            0..80 => rng.usize(1..300),
            80..96 => rng.usize(300..4_000),
            _ => rng.usize(4_000..20_000),
        };
        let filler: String = std::iter::repeat_with(|| rng.alphanumeric())
            .take(length)
            .collect();
        format!("<n={n}>{filler}")
    }

    /// The body of the entry.
    pub(crate) fn body(&self, n: u64) -> String {
        if Self::is_end(n) {
            String::new()
        } else {
            format!("data: {}\n\n", self.text(n))
        }
    }

    /// The number of the event with this body, if it is one.
    pub(crate) fn number(body: &[u8]) -> Option<u64> {
        let digits = body.strip_prefix(b"data: <n=")?;
        let length = digits.iter().position(|byte| *byte == b'>')?;
        std::str::from_utf8(&digits[..length]).ok()?.parse().ok()
    }

    /// The number of the end of this channel.
    pub(crate) fn end_of(channel: &str) -> Option<u64> {
        let block: u64 = channel.strip_prefix("brief/")?.parse().ok()?;
        Some(block * BLOCK + BLOCK - 1)
    }
}

/// How long a child pauses, so that an interval is over.
pub(crate) const PAUSE: Duration = Duration::from_millis(20 * 50);
