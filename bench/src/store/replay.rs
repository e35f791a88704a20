//! The measurements of subscribers that resume from a store.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tidings_hub::{
    Event, EventId, Hub, Log, MemoryLog, Pattern, Position, Scope, SubscriptionStream,
};
use tidings_store::StoreLog;
use tokio::runtime::Builder;
use tokio::time::Instant;

use crate::harness::{Request, Result, Sample};
use crate::resuming::{Layout, MISSED, percentile, read, read_into, rush, sample};
use crate::store::folder;
use crate::store::load::{self, channel, text, unlimited};

pub const STORE: &str = "store";
pub const MEMORY: &str = "memory";
/// The operating system has nothing of the file in memory when a replay begins.
pub const COLD: &str = "store, cold";

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// One subscriber reads all channels.
    All,
    /// One subscriber at a time reads a channel.
    Median,
    P99,
    /// Subscribers of different channels resume at once: until all have received everything.
    Rush,
    /// The same: the longest time until the subscriber of another channel receives an event.
    Delay,
}

impl Replay {
    pub const ALL: [Self; 5] = [Self::Median, Self::P99, Self::All, Self::Rush, Self::Delay];

    pub fn name(self, quick: bool) -> String {
        let subscribers = if quick { "50" } else { "1,000" };
        match self {
            Self::All => "replay of all channels".to_owned(),
            Self::Median => format!("replay of a channel of {MISSED}: median"),
            Self::P99 => format!("replay of a channel of {MISSED}: p99"),
            Self::Rush => format!("{subscribers} resume at once"),
            Self::Delay => format!("{subscribers} resume at once: longest delay"),
        }
    }

    pub fn unit(self) -> &'static str {
        match self {
            Self::All => "ns an event",
            _ => "ns",
        }
    }

    pub fn contenders(self) -> Vec<&'static str> {
        match self {
            Self::Median | Self::P99 => vec![STORE, COLD, MEMORY],
            _ => vec![STORE, MEMORY],
        }
    }

    pub fn sample(self, request: &Request) -> Result<Sample> {
        let mut runtime = Builder::new_multi_thread();
        let runtime = runtime.worker_threads(2).enable_time().build()?;
        let cost = runtime.block_on(async {
            if request.contender == MEMORY {
                let log = Arc::new(MemoryLog::new(unlimited()));
                let stage = Stage::new(log, request.quick);
                stage.fill().await?;
                return self.measure(&stage).await;
            }
            let (store, is_complete) = folder::kept("replay")?;
            if !is_complete {
                let stage = Stage::new(open(&store)?, request.quick);
                stage.fill().await?;
                stage.log.close().await?;
                folder::complete(&store)?;
            }
            if request.contender == COLD {
                return self.measure_cold(&store, request.quick).await;
            }
            self.measure(&Stage::new(open(&store)?, request.quick))
                .await
        })?;
        sample(cost)
    }

    async fn measure<L: Log + Clone>(self, stage: &Stage<L>) -> Result<Duration> {
        let hub = stage.hub().await?;
        let channels = stage.long_channels().await?;
        match self {
            Self::All => stage.replay_all(&hub).await,
            Self::Median | Self::P99 => {
                // The first pass warms up.
                for (channel, first) in &channels {
                    stage.check(&hub, *channel, first).await?;
                }
                let mut times = Vec::new();
                for (channel, first) in &channels {
                    times.push(replay(&hub, *channel, first).await?);
                }
                self.percentile(times)
            }
            Self::Rush | Self::Delay => {
                let subscribers = channels.iter();
                let subscribers =
                    subscribers.map(|(channel, first)| (resume(&hub, *channel, first), MISSED));
                let subscribers = subscribers.collect();
                let (all, longest) = rush(hub, subscribers, Event::new(text(0))).await?;
                Ok(if self == Self::Rush { all } else { longest })
            }
        }
    }

    /// Each replay has a store of its own, as an open one has parts of the file in memory.
    async fn measure_cold(self, store: &Path, quick: bool) -> Result<Duration> {
        let count = if quick { 3 } else { 30 };
        let log = open(store)?;
        let channels = Stage::new(log.clone(), quick).long_channels().await?;
        log.close().await?;
        let mut times = Vec::new();
        for (channel, first) in channels.iter().take(count) {
            folder::cool(store)?;
            let log = open(store)?;
            let hub = Stage::new(log.clone(), quick).hub().await?;
            times.push(replay(&hub, *channel, first).await?);
            drop(hub);
            log.close().await?;
        }
        self.percentile(times)
    }

    fn percentile(self, times: Vec<Duration>) -> Result<Duration> {
        percentile(times, if self == Self::P99 { 99 } else { 50 })
    }
}

fn open(store: &Path) -> Result<StoreLog> {
    Ok(StoreLog::options().retention(unlimited()).open(store)?)
}

/// A log of many channels.
struct Stage<L> {
    log: L,
    entries: usize,
    layout: Layout,
}

impl<L: Log + Clone> Stage<L> {
    fn new(log: L, quick: bool) -> Self {
        let entries = if quick { 50_000 } else { 1_000_000 };
        let layout = Layout::of(entries);
        Self {
            log,
            entries,
            layout,
        }
    }

    async fn fill(&self) -> Result<()> {
        let layout = self.layout;
        load::fill(&self.log, 0..self.entries, |n| layout.channel_of(n)).await
    }

    /// A hub that has reached its log, and whose tapes hold none of the entries.
    async fn hub(&self) -> Result<Hub> {
        let hub = Hub::over(self.log.clone());
        hub.publish("live", Event::new("begin")).await?;
        Ok(hub)
    }

    /// The long channels, and the ID of the first event of each.
    async fn long_channels(&self) -> Result<Vec<(usize, EventId)>> {
        let bounds = self.log.bounds().await?;
        let newest = bounds.newest();
        let mut channels = Vec::new();
        for number in 0..self.layout.long {
            let pattern = [Pattern::from(channel(number))];
            let page = self.log.read(0, 1, Scope::new(&pattern, &newest)).await?;
            let first = page.entries.first().ok_or("a channel is empty")?;
            let position = Position {
                epoch: bounds.epoch.clone(),
                seq: first.seq,
                check: first.check(),
            };
            channels.push((number, EventId::from(&position)));
        }
        Ok(channels)
    }

    /// Fails if a subscriber does not receive the missed events of the channel.
    async fn check(&self, hub: &Hub, number: usize, first: &EventId) -> Result<()> {
        let mut stream = resume(hub, number, first);
        let mut received = Vec::new();
        read_into(&mut stream, MISSED, |events| {
            let events = events.to_events();
            received.extend(events.iter().map(|event| event.text().to_owned()));
        })
        .await?;
        let is_own = |text: &String| {
            let entry = text.get(..10).and_then(|digits| digits.parse().ok());
            entry.is_some_and(|entry| self.layout.channel_of(entry) == number)
        };
        if !received.is_sorted() || !received.iter().all(is_own) {
            return Err(format!("channel {number}: received {received:?}").into());
        }
        Ok(())
    }

    /// The time of an event.
    async fn replay_all(&self, hub: &Hub) -> Result<Duration> {
        let begin = Instant::now();
        let all = hub.subscribe_all(["channels/*"]);
        read(&mut all.earliest().resume_after(None), self.entries).await?;
        Ok(begin.elapsed() / u32::try_from(self.entries)?)
    }
}

fn resume(hub: &Hub, number: usize, first: &EventId) -> SubscriptionStream {
    hub.subscribe(channel(number)).resume_after(Some(first))
}

async fn replay(hub: &Hub, number: usize, first: &EventId) -> Result<Duration> {
    let begin = Instant::now();
    read(&mut resume(hub, number, first), MISSED).await?;
    Ok(begin.elapsed())
}
