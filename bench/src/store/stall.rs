//! The measurement of how long a commit waits, beside a retention that removes events.

use std::time::Duration;

use futures::future::try_join_all;
use tidings_hub::{Draft, Log};
use tidings_store::{Durability, StoreLog};
use tokio::runtime::Builder;
use tokio::time::Instant;

use crate::harness::{Request, Result, Sample};
use crate::store::folder::Scratch;
use crate::store::load::{self, CHANNELS, body, channel, turn, unlimited};
use crate::store::rate::full;

/// The events of a commit.
const AT_ONCE: usize = 16;

pub const GROWING: &str = "a growing log";
pub const FULL: &str = "a full log";
pub const GROWING_BUFFERED: &str = "a growing log, buffered";
/// Without a sync, the time of a commit is that of the store, and not of the disk.
pub const FULL_BUFFERED: &str = "a full log, buffered";

pub const CONTENDERS: [&str; 4] = [FULL, FULL_BUFFERED, GROWING, GROWING_BUFFERED];

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stall {
    Median,
    P99,
    Longest,
}

impl Stall {
    pub const ALL: [Self; 3] = [Self::Median, Self::P99, Self::Longest];

    pub fn name(self) -> String {
        let measure = match self {
            Self::Median => "median",
            Self::P99 => "p99",
            Self::Longest => "longest",
        };
        format!("a commit of {AT_ONCE}: {measure}")
    }

    pub fn sample(self, request: &Request) -> Result<Sample> {
        let is_full = [FULL, FULL_BUFFERED].contains(&&*request.contender);
        let is_buffered = [GROWING_BUFFERED, FULL_BUFFERED].contains(&&*request.contender);
        let held = full(request);
        let limit = is_full.then_some(held as u64);
        let durability = if is_buffered {
            Durability::Buffered
        } else {
            Durability::EveryCommit
        };
        let scratch = Scratch::new()?;
        let options = StoreLog::options().retention(unlimited().max_events(limit));
        let log = options.durability(durability).open(scratch.file())?;
        let runtime = Builder::new_current_thread().enable_time().build()?;
        let first = held + held / 2;
        // As many events again as a full log holds, so that all of those are removed.
        let mut times = runtime.block_on(async {
            load::fill(&log, 0..first, |number| turn(number, CHANNELS)).await?;
            commits(&log, first, held / AT_ONCE).await
        })?;
        times.sort_unstable();
        let at = match self {
            Self::Median => times.len() / 2,
            Self::P99 => times.len() * 99 / 100,
            Self::Longest => times.len() - 1,
        };
        Ok(Sample {
            cost: u64::try_from(times[at].as_nanos())?,
            part: None,
            units: 1,
            tally: None,
        })
    }
}

async fn commits(log: &StoreLog, first: usize, count: usize) -> Result<Vec<Duration>> {
    let mut times = Vec::with_capacity(count);
    for commit in 0..count {
        let numbers = first + commit * AT_ONCE..first + (commit + 1) * AT_ONCE;
        let drafts: Vec<Draft> = numbers
            .map(|number| Draft::event(channel(turn(number, CHANNELS)), body(number)))
            .collect();
        let begin = Instant::now();
        try_join_all(drafts.into_iter().map(|draft| log.append(draft))).await?;
        times.push(begin.elapsed());
    }
    Ok(times)
}
