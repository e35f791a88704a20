//! The memory of a log in memory, by the number of its channels: allocated bytes.
//!
//! It is a program of its own, as counting takes time that the other benches would measure.

use std::alloc::System;
use std::ops::Range;
use std::process::ExitCode;

use cap::Cap;
use futures::FutureExt;
use tidings_hub::{ChannelName, Draft, Log, MemoryLog, Retention};

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// The size of the name of a channel, in bytes.
const NAME_BYTES: usize = 16;

/// A table's title, and the size of each event, in bytes.
const TABLES: [(&str, usize); 2] = [("100 bytes", 100), ("10 bytes", 10)];

/// A row's name, and the number of entries of a channel. The channels are stored in turns.
const ROWS: [(&str, Option<usize>); 4] = [
    ("one channel", None),
    ("100 entries a channel", Some(100)),
    ("10 entries a channel", Some(10)),
    ("1 entry a channel", Some(1)),
];

fn main() -> ExitCode {
    let is_quick = std::env::args().any(|argument| argument == "--quick");
    let entries = if is_quick { 100_000 } else { 1_000_000 };
    let mut is_good = true;
    for (title, body) in TABLES {
        println!(
            "\nA log in memory, events of {title}: bytes an entry, and a full log's part of its limit.\n"
        );
        println!("| log | allocated | more than the event | full |");
        println!("|---|---|---|---|");
        for (name, of_channel) in ROWS {
            let channels = of_channel.map_or(1, |of_channel| entries / of_channel);
            let shape = Shape {
                entries,
                channels,
                body,
            };
            let (bytes, percent) = (shape.entry(), shape.full());
            println!("| {name} | {bytes} | {} | {percent} % |", bytes - body);
            is_good &= percent <= 100;
        }
    }
    println!(
        "\nA channel that is remembered without entries: {} bytes.",
        remembered()
    );
    if !is_good {
        eprintln!("error: a log takes more than its limit");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// The entries of a log.
struct Shape {
    entries: usize,
    channels: usize,
    body: usize,
}

impl Shape {
    /// The bytes of an entry in a log that holds all entries.
    fn entry(&self) -> usize {
        let before = ALLOCATOR.allocated();
        let log = MemoryLog::new(Retention::in_memory().max_bytes(u64::MAX));
        self.append(&log, 0..self.entries);
        (ALLOCATOR.allocated() - before) / self.entries
    }

    /// The most that a log has allocated until it has removed half of the entries, in percent of its limit.
    /// The limit does not count the channels that are remembered without entries, so there are none.
    fn full(&self) -> usize {
        const STEP: usize = 1_000;
        // As many bytes as half of the entries count, with their names, 64, and 256 for a channel.
        let counted = self.entries * (self.body + NAME_BYTES + 64) + self.channels * 256;
        let limit = counted / 2;
        let before = ALLOCATOR.allocated();
        let retention = Retention::in_memory().max_bytes(limit as u64);
        let log = MemoryLog::new(retention.remembered_channels(0));
        let mut most = 0;
        for first in (0..self.entries).step_by(STEP) {
            self.append(&log, first..first + STEP);
            most = most.max(ALLOCATOR.allocated() - before);
        }
        most * 100 / limit
    }

    fn append(&self, log: &MemoryLog, numbers: Range<usize>) {
        for number in numbers {
            append(log, number % self.channels, self.body);
        }
    }
}

/// The bytes of a channel of which the log holds nothing.
fn remembered() -> usize {
    const CHANNELS: usize = 100_000;
    let before = ALLOCATOR.allocated();
    let log = MemoryLog::new(Retention::in_memory());
    (0..CHANNELS).for_each(|channel| append(&log, channel, 0));
    log.trim(u64::MAX);
    (ALLOCATOR.allocated() - before) / CHANNELS
}

fn append(log: &MemoryLog, channel: usize, body: usize) {
    let name = ChannelName::new(format!("channels/{channel:07}")).expect("it is a name");
    let stored = log
        .append(Draft::event(name, vec![b'x'; body]))
        .now_or_never();
    stored.expect("memory does not wait").expect("it is kept");
}
