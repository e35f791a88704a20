//! The measurements of a log that many channels share: one channel's replay, and the replays of many
//! subscribers at once.

use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;
use tidings_hub::{EncodedEvents, EventId, Hub, MemoryLog, Retention, SubscriptionStream};
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

use crate::harness::{Request, Result, Sample, cpu_ns, pin_to};
use crate::hub::events::event;
use crate::resuming::{Layout, MISSED, percentile, read, read_into, rush, sample};
use crate::server::events::data;

/// Entries that are being appended at a time.
const AT_ONCE: usize = 250;

/// Far more than the entries take.
const LOG_BYTES: u64 = 4 << 30;

/// A contender's name, and the entries in the log: a multiple of 10,000.
const LOGS: [(&str, usize); 3] = [
    ("10,000 entries", 10_000),
    ("100,000 entries", 100_000),
    ("1,000,000 entries", 1_000_000),
];

const ONE_THREAD: &str = "one thread";
const TWO_THREADS: &str = "two threads";

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Logs {
    /// One subscriber at a time resumes a long channel.
    Replay(Measure),
    /// Subscribers of different channels resume at once.
    Rush(Until),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    Median,
    P99,
    CpuTime,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Until all subscribers have received everything.
    AllResumed,
    /// Until the subscriber of another channel receives an event that is published meanwhile: the longest
    /// time.
    Delivered,
}

impl Logs {
    pub const ALL: [Self; 5] = [
        Self::Replay(Measure::Median),
        Self::Replay(Measure::P99),
        Self::Replay(Measure::CpuTime),
        Self::Rush(Until::AllResumed),
        Self::Rush(Until::Delivered),
    ];

    pub fn name(self, quick: bool) -> String {
        let rush = if quick { "1,000" } else { "10,000" };
        match self {
            Self::Replay(Measure::Median) => format!("replay of a channel of {MISSED}: median"),
            Self::Replay(Measure::P99) => format!("replay of a channel of {MISSED}: p99"),
            Self::Replay(Measure::CpuTime) => format!("replay of a channel of {MISSED}: CPU time"),
            Self::Rush(Until::AllResumed) => format!("{rush} channels resumed at once"),
            Self::Rush(Until::Delivered) => {
                format!("{rush} channels resumed at once: longest delay")
            }
        }
    }

    pub fn contenders(self, quick: bool) -> Vec<&'static str> {
        match self {
            Self::Replay(_) if quick => LOGS[..2].iter().map(|&(name, _)| name).collect(),
            Self::Replay(_) => LOGS.iter().map(|&(name, _)| name).collect(),
            Self::Rush(_) => vec![ONE_THREAD, TWO_THREADS],
        }
    }

    /// The most time that each contender may take, in nanoseconds.
    pub fn targets(self, quick: bool) -> impl Iterator<Item = (f64, &'static str)> {
        let most = match self {
            Self::Replay(Measure::Median) => Some(1e5),
            Self::Rush(Until::AllResumed) => Some(5e9),
            _ => None,
        };
        let contenders = self.contenders(quick).into_iter();
        contenders.filter_map(move |contender| Some((most?, contender)))
    }

    pub fn sample(self, request: &Request) -> Result<Sample> {
        match self {
            Self::Replay(measure) => {
                let found = LOGS.iter().find(|(name, _)| *name == request.contender);
                let &(_, entries) = found.ok_or("nobody is named so")?;
                replays(request, measure, entries)
            }
            Self::Rush(until) => resumed_at_once(request, until),
        }
    }
}

/// A log whose channels are stored in turns, and the subscribers' last event IDs.
struct Stage {
    log: Arc<MemoryLog>,
    channels: Vec<Stored>,
    layout: Layout,
}

#[derive(Default)]
struct Stored {
    /// The ID of its first event.
    first: Option<EventId>,
    /// The events after the first.
    missed: usize,
}

impl Stage {
    /// A log of so many entries, with one channel for ten of them.
    fn new(runtime: &Runtime, entries: usize) -> Result<Self> {
        let mut stage = Self {
            log: Arc::new(MemoryLog::new(Retention::in_memory().max_bytes(LOG_BYTES))),
            channels: Vec::new(),
            layout: Layout::of(entries),
        };
        let count = stage.layout.channels;
        stage.channels.resize_with(count, Stored::default);
        runtime.block_on(stage.fill(entries))?;
        Ok(stage)
    }

    async fn fill(&mut self, entries: usize) -> Result<()> {
        let hub = self.hub();
        for first in (0..entries).step_by(AT_ONCE) {
            let layout = self.layout;
            let numbers = first..first + AT_ONCE;
            let published = numbers.map(|n| hub.publish(name(layout.channel_of(n)), event(n)));
            for (position, number) in try_join_all(published).await?.into_iter().zip(first..) {
                let channel = layout.channel_of(number);
                let stored = &mut self.channels[channel];
                if stored.first.is_some() {
                    stored.missed += 1;
                } else {
                    stored.first = Some(EventId::from(&position));
                }
            }
        }
        Ok(())
    }

    /// A hub that has begun after all events were published, so its tapes hold none of them.
    fn hub(&self) -> Hub {
        Hub::over(Arc::clone(&self.log))
    }

    /// The client of a channel that has received its first event.
    fn resume(&self, hub: &Hub, channel: usize) -> SubscriptionStream {
        let subscription = hub.subscribe(name(channel));
        subscription.resume_after(self.channels[channel].first.as_ref())
    }

    /// Fails if these are not the missed events of the channel.
    fn check(&self, channel: usize, received: &[EncodedEvents]) -> Result<()> {
        let received = received.iter().flat_map(EncodedEvents::to_events);
        let received: Vec<String> = received.map(|event| event.text().to_owned()).collect();
        let numbers = 0..self.channels.len() * 10;
        let published = numbers.filter(|&number| self.layout.channel_of(number) == channel);
        let published: Vec<String> = published.skip(1).map(data).collect();
        if received != published {
            return Err(format!("channel {channel}: received {received:?}").into());
        }
        Ok(())
    }
}

fn name(channel: usize) -> String {
    format!("channels/{channel}")
}

/// The replays of all long channels, one after the other.
fn replays(request: &Request, measure: Measure, entries: usize) -> Result<Sample> {
    /// So many of them are compared event by event, as each looks through the log.
    const CHECKED: usize = 10;
    pin_to(request.core)?;
    let runtime = Builder::new_current_thread().enable_time().build()?;
    let stage = Stage::new(&runtime, entries)?;
    let (times, cpu_time) = runtime.block_on(async {
        let hub = stage.hub();
        for channel in 0..stage.layout.long.min(CHECKED) {
            let mut received = Vec::new();
            let mut stream = stage.resume(&hub, channel);
            read_into(&mut stream, MISSED, |events| received.push(events)).await?;
            stage.check(channel, &received)?;
        }
        let (mut times, before) = (Vec::new(), cpu_ns());
        for channel in 0..stage.layout.long {
            let begin = Instant::now();
            let mut stream = stage.resume(&hub, channel);
            let mut received = Vec::new();
            read_into(&mut stream, MISSED, |events| received.push(events)).await?;
            times.push(begin.elapsed());
            drop(received);
        }
        let cpu_time = Duration::from_nanos(cpu_ns() - before) / u32::try_from(times.len())?;
        Result::Ok((times, cpu_time))
    })?;
    let cost = match measure {
        Measure::Median => percentile(times, 50)?,
        Measure::P99 => percentile(times, 99)?,
        Measure::CpuTime => cpu_time,
    };
    sample(cost)
}

fn resumed_at_once(request: &Request, until: Until) -> Result<Sample> {
    let (entries, subscribers) = if request.quick {
        (100_000, 1_000)
    } else {
        (1_000_000, 10_000)
    };
    let runtime = if request.contender == ONE_THREAD {
        pin_to(request.core)?;
        Builder::new_current_thread().enable_time().build()?
    } else {
        let mut runtime = Builder::new_multi_thread();
        runtime.worker_threads(2).enable_time().build()?
    };
    let stage = Stage::new(&runtime, entries)?;
    let (all_resumed, longest) = runtime.block_on(resume_all(&stage, subscribers))?;
    let cost = match until {
        Until::AllResumed => all_resumed,
        Until::Delivered => longest,
    };
    sample(cost)
}

/// Makes all subscribers, and then runs them at once. Returns the time until all have received everything,
/// and the longest delay of an event that was published meanwhile.
async fn resume_all(stage: &Stage, subscribers: usize) -> Result<(Duration, Duration)> {
    let hub = stage.hub();
    // The hub reaches its log before the measurement begins.
    read(&mut stage.resume(&hub, 0), MISSED).await?;
    let streams = (0..subscribers).map(|channel| stage.resume(&hub, channel));
    let streams = streams.zip(&stage.channels);
    let streams = streams.map(|(stream, stored)| (stream, stored.missed));
    let streams = streams.collect();
    rush(hub, streams, event(0)).await
}
