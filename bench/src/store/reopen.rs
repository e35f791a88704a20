//! The measurement of how long a store takes to open after its process was killed.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;
use futures::FutureExt;
use tidings_hub::Log;
use tidings_store::StoreLog;
use tokio::runtime::Builder;
use tokio::time::Instant;

use crate::harness::{Request, Result, Sample};
use crate::store::folder;
use crate::store::load::{self, CHANNELS, turn, unlimited};

pub const WARM: &str = "warm";
pub const COLD: &str = "cold";

pub const CONTENDERS: [&str; 2] = [WARM, COLD];

/// Entries after which a filler reports.
const STEP: usize = 10_000;

/// The command of the process that is killed.
#[derive(Args)]
pub struct Filling {
    store: PathBuf,
}

pub fn name(quick: bool) -> String {
    let entries = if quick { "30,000" } else { "10,000,000" };
    format!("open {entries} events after a kill")
}

fn entries(quick: bool) -> usize {
    if quick { 30_000 } else { 10_000_000 }
}

/// Entries that are appended before another kill: some that the index on the disk has, and some that it
/// lacks.
fn before_kill(quick: bool) -> usize {
    if quick { 10_000 } else { 70_000 }
}

pub fn sample(request: &Request) -> Result<Sample> {
    let (store, is_complete) = folder::kept("reopen")?;
    let wanted = if is_complete {
        before_kill(request.quick)
    } else {
        entries(request.quick)
    };
    let appended = fill_and_kill(&store, wanted)?;
    folder::complete(&store)?;
    if request.contender == COLD {
        folder::cool(&store)?;
    }
    let begin = Instant::now();
    let log = StoreLog::options().retention(unlimited()).open(&store)?;
    let time = begin.elapsed();
    let bounds = log.bounds().now_or_never().ok_or("it waits")??;
    if bounds.last.seq < appended {
        return Err(format!("{appended} events became {}", bounds.last.seq).into());
    }
    Ok(Sample {
        cost: u64::try_from(time.as_nanos())?,
        part: None,
        units: 1,
        tally: None,
    })
}

/// Lets another process append so many entries, and kills it while it appends more. Returns how many entries
/// the log has acknowledged.
fn fill_and_kill(store: &Path, wanted: usize) -> Result<u64> {
    let mut filler = Command::new(std::env::current_exe()?)
        .arg("fill-store")
        .arg(store)
        .stdout(Stdio::piped())
        .spawn()?;
    let output = filler.stdout.take().ok_or("it has no output")?;
    let mut lines = BufReader::new(output).lines();
    let (mut first, mut last) = (None, 0);
    while first.is_none_or(|first| last < first + wanted as u64) {
        last = lines.next().ok_or("the filler has ended")??.parse()?;
        first.get_or_insert(last);
    }
    filler.kill()?;
    filler.wait()?;
    // It may have reported more in the meantime.
    for line in lines.map_while(std::result::Result::ok) {
        last = line.parse().unwrap_or(last);
    }
    Ok(last)
}

/// Appends for ever, and prints how many entries the log has.
pub fn fill(filling: &Filling) -> Result<()> {
    let log = StoreLog::options();
    let log = log.retention(unlimited()).open(&filling.store)?;
    let runtime = Builder::new_current_thread().enable_time().build()?;
    runtime.block_on(async {
        let mut last = usize::try_from(log.bounds().await?.last.seq)?;
        loop {
            println!("{last}");
            load::fill(&log, last..last + STEP, |n| turn(n, CHANNELS)).await?;
            last += STEP;
        }
    })
}
