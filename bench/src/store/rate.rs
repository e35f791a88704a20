//! The measurements of publishers: the time and the bytes that an event takes.

use std::fs::{self, File};
use std::io::Write;
use std::time::Duration;

use tidings_hub::Hub;
use tidings_store::{Durability, StoreLog};
use tokio::runtime::Builder;
use tokio::time::Instant;

use crate::harness::{Request, Result, Sample};
use crate::store::folder::Scratch;
use crate::store::load::{self, CHANNELS, Target, body, turn, unlimited};

/// A file to which each batch is appended, and then synced once: nothing that is durable writes less.
pub const PLAIN_FILE: &str = "plain file, a sync a batch";
pub const EVERY_COMMIT: &str = "every commit";
const INTERVAL: &str = "interval of 100 ms";
const BUFFERED: &str = "buffered";
pub const HUB: &str = "hub, every commit";

#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Events that are published at a time.
    pub in_flight: usize,
    pub doing: Doing,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// The store only grows.
    Growing,
    /// The store removes as many events as it stores.
    Full,
    /// The same; the row counts bytes.
    Bytes,
}

impl Rate {
    pub fn all() -> Vec<Self> {
        let mut rates = Vec::new();
        for doing in [Doing::Growing, Doing::Full, Doing::Bytes] {
            rates.extend([1, 16, 256].map(|in_flight| Self { in_flight, doing }));
        }
        rates
    }

    pub fn name(self) -> String {
        let doing = match self.doing {
            Doing::Growing => "a growing log",
            Doing::Full => "a full log",
            Doing::Bytes => "a full log, written",
        };
        format!("{doing}, {} in flight", self.in_flight)
    }

    pub fn unit(self) -> &'static str {
        match self.doing {
            Doing::Growing | Doing::Full => "ns an event",
            Doing::Bytes => "bytes an event",
        }
    }

    pub fn contenders(self) -> Vec<&'static str> {
        match self.doing {
            Doing::Growing => vec![EVERY_COMMIT, INTERVAL, BUFFERED, HUB, PLAIN_FILE],
            Doing::Full => vec![EVERY_COMMIT, INTERVAL, BUFFERED],
            Doing::Bytes => vec![EVERY_COMMIT, INTERVAL, BUFFERED, PLAIN_FILE],
        }
    }

    pub fn sample(self, request: &Request) -> Result<Sample> {
        let scratch = Scratch::new()?;
        let (before, (events, time)) = if request.contender == PLAIN_FILE {
            (written()?, self.plain_file(request, &scratch)?)
        } else {
            self.store(request, &scratch)?
        };
        let cost = match self.doing {
            Doing::Bytes => written()? - before,
            _ => u64::try_from(time.as_nanos())?,
        };
        Ok(Sample {
            cost,
            part: None,
            units: events as u64,
            tally: None,
        })
    }

    /// How long the publishers publish. The index is written in parts of an eighth of the entries of a full
    /// log, so a single publisher needs some time for two of them.
    fn time(self, request: &Request) -> Duration {
        Duration::from_millis(match (self.doing, self.in_flight) {
            _ if request.quick => 100,
            (Doing::Full | Doing::Bytes, 1) => 10_000,
            _ => 2_000,
        })
    }

    fn plain_file(self, request: &Request, scratch: &Scratch) -> Result<(usize, Duration)> {
        let mut file = File::create(scratch.file())?;
        let (begin, time) = (Instant::now(), self.time(request));
        let mut count = 0;
        while begin.elapsed() < time {
            let batch: String = (count..count + self.in_flight).map(body).collect();
            file.write_all(batch.as_bytes())?;
            file.sync_data()?;
            count += self.in_flight;
        }
        Ok((count, begin.elapsed()))
    }

    /// Returns the bytes that were written before, and the events and their time.
    fn store(self, request: &Request, scratch: &Scratch) -> Result<(u64, (usize, Duration))> {
        let held = match self.doing {
            Doing::Growing => 0,
            _ => full(request),
        };
        let retention = match self.doing {
            Doing::Growing => unlimited(),
            _ => unlimited().max_events(Some(held as u64)),
        };
        let durability = match &*request.contender {
            INTERVAL => Durability::Interval(Duration::from_millis(100)),
            BUFFERED => Durability::Buffered,
            _ => Durability::EveryCommit,
        };
        let options = StoreLog::options().retention(retention);
        let log = options.durability(durability).open(scratch.file())?;
        let runtime = Builder::new_current_thread().enable_time().build()?;
        runtime.block_on(async {
            // A full log has removed some events before the measurement begins.
            let first = held + held / 2;
            load::fill(&log, 0..first, |number| turn(number, CHANNELS)).await?;
            let before = written()?;
            let published = if request.contender == HUB {
                let hub = Hub::over(log.clone());
                self.publish(Target::<StoreLog>::Hub(&hub), first, request)
                    .await?
            } else {
                self.publish(Target::Log(&log), first, request).await?
            };
            Ok((before, published))
        })
    }

    async fn publish(
        self,
        target: Target<'_, StoreLog>,
        first: usize,
        request: &Request,
    ) -> Result<(usize, Duration)> {
        load::publish(target, first, self.in_flight, self.time(request)).await
    }
}

/// The number of events that a full log holds.
pub fn full(request: &Request) -> usize {
    if request.quick { 2_000 } else { 100_000 }
}

/// The bytes that this process has passed to the system's write calls: the frames of the write-ahead log, and
/// the pages that a checkpoint writes to the database. `write_bytes` of the same file would count pages of
/// the page cache, in a way that depends on the kernel.
fn written() -> Result<u64> {
    let io = fs::read_to_string("/proc/self/io")?;
    let line = io.lines().find_map(|line| line.strip_prefix("wchar: "));
    Ok(line.ok_or("/proc/self/io has no wchar")?.parse()?)
}
