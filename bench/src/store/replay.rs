//! The measurements of subscribers that resume from a store.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tidings_hub::{
    Event, EventId, Hub, Log, MemoryLog, Pattern, Position, Scope, SubscriptionStream,
};
use tidings_store::StoreLog;
use tokio::runtime::Builder;
use tokio::time::{Instant, sleep};

use crate::harness::{Request, Result, Sample};
use crate::store::folder;
use crate::store::load::{self, channel, text, unlimited};

/// The events that a subscriber has missed.
const MISSED: usize = 100;

/// Of each thousand entries, so many are of long channels, which have one event more than is missed.
const LONG: usize = MISSED + 1;
const BLOCK: usize = 1_000;

/// The time between two events that are published while many subscribers resume.
const PACE: Duration = Duration::from_millis(1);

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
        Ok(Sample {
            cost: u64::try_from(cost.as_nanos())?,
            in_user_mode: None,
            units: 1,
            tally: None,
        })
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
                let (all, longest) = rush(hub, channels).await?;
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

    fn percentile(self, mut times: Vec<Duration>) -> Result<Duration> {
        times.sort_unstable();
        let percent = if self == Self::P99 { 99 } else { 50 };
        let time = times.get(times.len() * percent / 100);
        Ok(*time.ok_or("nothing was measured")?)
    }
}

fn open(store: &Path) -> Result<StoreLog> {
    Ok(StoreLog::options().retention(unlimited()).open(store)?)
}

/// A log with one channel for ten entries, whose channels are stored in turns. The first of them are long.
struct Stage<L> {
    log: L,
    entries: usize,
    /// The number of long channels, of `LONG` events each.
    long: usize,
}

impl<L: Log + Clone> Stage<L> {
    fn new(log: L, quick: bool) -> Self {
        let entries = if quick { 50_000 } else { 1_000_000 };
        let long = entries / BLOCK;
        Self { log, entries, long }
    }

    async fn fill(&self) -> Result<()> {
        load::fill(&self.log, 0..self.entries, |n| self.channel_of(n)).await
    }

    /// The channel of the nth entry. The entries of a channel are far apart in the log.
    fn channel_of(&self, number: usize) -> usize {
        let (block, place) = (number / BLOCK, number.wrapping_mul(7_919) % BLOCK);
        match place.checked_sub(LONG) {
            None => (block * LONG + place) % self.long,
            Some(place) => {
                let short = self.entries / 10 - self.long;
                self.long + (block * (BLOCK - LONG) + place) % short
            }
        }
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
        for number in 0..self.long {
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
        while received.len() < MISSED {
            let events = stream.next().await.ok_or("it is over")??.to_events();
            received.extend(events.iter().map(|event| event.text().to_owned()));
        }
        let is_own = |text: &String| {
            let entry = text.get(..10).and_then(|digits| digits.parse().ok());
            entry.is_some_and(|entry| self.channel_of(entry) == number)
        };
        if !received.is_sorted() || received.len() > MISSED || !received.iter().all(is_own) {
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

/// Reads so many events.
async fn read(stream: &mut SubscriptionStream, events: usize) -> Result<()> {
    let mut count = 0;
    while count < events {
        count += stream.next().await.ok_or("it is over")??.count();
    }
    if count > events {
        return Err("more was received than was missed".into());
    }
    Ok(())
}

/// Lets a subscriber of each channel resume at once. Returns the time until all have received
/// everything, and the longest delay of an event that was published meanwhile.
async fn rush(hub: Hub, channels: Vec<(usize, EventId)>) -> Result<(Duration, Duration)> {
    let is_over = Arc::new(AtomicBool::new(false));
    let publisher = tokio::spawn(publish_meanwhile(hub.clone(), Arc::clone(&is_over)));
    let begin = Instant::now();
    let subscribers = channels.into_iter().map(|(number, first)| {
        let mut stream = resume(&hub, number, &first);
        tokio::spawn(async move {
            let received = read(&mut stream, MISSED).await;
            received.map_err(|error| error.to_string())
        })
    });
    for subscriber in subscribers.collect::<Vec<_>>() {
        subscriber.await??;
    }
    let all = begin.elapsed();
    is_over.store(true, Ordering::Relaxed);
    Ok((all, publisher.await??))
}

/// Publishes an event to a subscriber now and then, and returns the longest time until one was received.
async fn publish_meanwhile(
    hub: Hub,
    is_over: Arc<AtomicBool>,
) -> std::result::Result<Duration, String> {
    let mut stream = hub.subscribe("live").resume_after(None);
    let mut longest = Duration::ZERO;
    while !is_over.load(Ordering::Relaxed) {
        let begin = Instant::now();
        let published = hub.publish("live", Event::new(text(0))).await;
        published.map_err(|error| error.to_string())?;
        let received = read(&mut stream, 1).await;
        received.map_err(|error| error.to_string())?;
        longest = longest.max(begin.elapsed());
        sleep(PACE).await;
    }
    Ok(longest)
}
