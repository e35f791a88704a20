//! The measurement of the disk that a full store takes.

use tidings_store::StoreLog;
use tokio::runtime::Builder;

use crate::harness::{Request, Result, Sample};
use crate::store::folder::{Scratch, disk_bytes};
use crate::store::load::{self, turn, unlimited};
use crate::store::rate::full;

pub const NAME: &str = "disk of a full log";

/// A contender's name, and how many events a channel has.
const SHAPES: [(&str, usize); 3] = [
    ("1 event a channel", 1),
    ("10 events a channel", 10),
    ("1,000 events a channel", 1_000),
];

pub fn contenders() -> Vec<&'static str> {
    SHAPES.iter().map(|&(name, _)| name).collect()
}

pub fn sample(request: &Request) -> Result<Sample> {
    let shape = SHAPES.iter().find(|(name, _)| *name == request.contender);
    let &(_, of_channel) = shape.ok_or("nobody is named so")?;
    let held = full(request);
    let channels = held / of_channel;
    let scratch = Scratch::new()?;
    // No removed channel is remembered, as it would count as an event's.
    let retention = unlimited().max_events(Some(held as u64));
    let options = StoreLog::options().retention(retention.remembered_channels(0));
    let log = options.open(scratch.file())?;
    let runtime = Builder::new_current_thread().enable_time().build()?;
    runtime.block_on(async {
        let numbers = 0..3 * held;
        // Each channel has its events in turn, and then never again.
        load::fill(&log, numbers, |n| n / held * channels + turn(n, channels)).await?;
        log.close().await?;
        Result::Ok(())
    })?;
    drop(log);
    Ok(Sample {
        cost: disk_bytes(&scratch.file())?,
        part: None,
        units: held as u64,
        tally: None,
    })
}
