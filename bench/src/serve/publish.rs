//! The measurement of publishers: the time of an event that nobody receives.

use std::time::Duration;

use tokio::time::Instant;

use crate::harness::{Part, Request, Result, Sample};
use crate::serve::contenders::{NCHAN, SIXTEEN, TIDINGS};
use crate::serve::poller::Poller;
use crate::serve::program::{Product, Program};
use crate::serve::publisher::Publisher;
use crate::serve::requests::batch;
use crate::server::events;
use crate::store::folder::Scratch;

/// Publishers, or the events that one of them sends at once.
const MANY: usize = 16;

/// Publishers that send many events at once: enough that the server need not wait for the load.
const FEW: usize = 2;

/// The messages of a channel that Nchan keeps: a hundred times as many as by default. tidings keeps all
/// of a sample.
const KEPT: usize = 1_000;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Publishing {
    /// One publisher, which waits for each answer.
    OneByOne,
    /// Publishers with a connection each, which wait for each answer.
    InFlight,
    /// Publishers that send several events and then wait for all answers.
    AtOnce,
    /// The events are in a store, and each commit is synced, before they are confirmed.
    Stored,
}

impl Publishing {
    pub const ALL: [Self; 4] = [Self::OneByOne, Self::InFlight, Self::AtOnce, Self::Stored];

    pub fn name(self) -> String {
        match self {
            Self::OneByOne => "publish one by one".to_owned(),
            Self::InFlight => format!("publish, {MANY} publishers"),
            Self::AtOnce => format!("publish {MANY} at once"),
            Self::Stored => "publish to a store".to_owned(),
        }
    }

    pub fn sample(self, request: &Request) -> Result<Sample> {
        let product = match &*request.contender {
            NCHAN => Product::Nchan { kept: KEPT },
            _ => Product::Tidings,
        };
        let scratch = Scratch::new()?;
        let program = if self == Self::Stored {
            let file = format!("--store={}", scratch.file().display());
            Program::tidings(request, &[&file])?
        } else {
            Program::start(request, product)?
        };
        let publishers = match self {
            Self::OneByOne => 1,
            Self::AtOnce => FEW,
            Self::InFlight => MANY,
            Self::Stored if request.contender == SIXTEEN => MANY,
            Self::Stored => 1,
        };
        let is_batch = self == Self::AtOnce && request.contender == TIDINGS;
        let work = match self {
            Self::AtOnce if is_batch => Work::Batch,
            Self::AtOnce => Work::Pipelined(product),
            _ => Work::Single(product),
        };
        let mut load = Load::open(&program, publishers, work)?;
        let (warm_up, time) = if request.quick {
            (Duration::from_millis(50), Duration::from_millis(300))
        } else {
            (Duration::from_millis(500), Duration::from_secs(3))
        };
        load.run(warm_up)?;
        let (before, begin) = (program.usage()?, Instant::now());
        let count = load.run(time)?;
        let (time, after) = (begin.elapsed(), program.usage()?);
        Ok(Sample {
            cost: u64::try_from(time.as_nanos())?,
            part: Some(Part::Program(after.cpu_ns - before.cpu_ns)),
            units: count as u64,
            tally: None,
        })
    }
}

/// What a publisher sends before it waits.
#[derive(Clone, Copy)]
enum Work {
    Single(Product),
    Pipelined(Product),
    Batch,
}

impl Work {
    fn events(self) -> usize {
        match self {
            Self::Single(_) => 1,
            Self::Pipelined(_) | Self::Batch => MANY,
        }
    }

    fn requests(self, channel: &str) -> String {
        let data = events::data(0);
        match self {
            Self::Single(product) => product.publication(channel, &data),
            Self::Pipelined(product) => product.publication(channel, &data).repeat(MANY),
            Self::Batch => {
                let event = (channel.to_owned(), data);
                batch(std::iter::repeat_n(event, MANY))
            }
        }
    }
}

/// Publishers, each with a channel of its own.
struct Load {
    poller: Poller,
    publishers: Vec<Busy>,
    at_once: usize,
}

struct Busy {
    publisher: Publisher,
    requests: String,
    /// The events that are not confirmed yet.
    missing: usize,
}

impl Load {
    fn open(program: &Program, publishers: usize, work: Work) -> Result<Self> {
        let mut load = Self {
            poller: Poller::spinning()?,
            publishers: Vec::new(),
            at_once: work.events(),
        };
        let lines = matches!(work, Work::Batch).then_some(MANY);
        for number in 0..publishers {
            let publisher = Publisher::open(program.address, lines)?;
            publisher.poll_answers()?;
            load.poller.add(&publisher, number)?;
            load.publishers.push(Busy {
                publisher,
                requests: work.requests(&format!("bench-{number}")),
                missing: 0,
            });
        }
        Ok(load)
    }

    /// Lets all publish for this time, and waits for the last answers. Returns the number of events.
    fn run(&mut self, time: Duration) -> Result<usize> {
        let Self {
            poller,
            publishers,
            at_once,
        } = self;
        for busy in publishers.iter_mut() {
            busy.send(*at_once)?;
        }
        let (begin, mut idle, mut count) = (Instant::now(), 0, 0);
        while idle < publishers.len() {
            let is_over = begin.elapsed() >= time;
            poller.poll(|number| {
                let busy = &mut publishers[number];
                let confirmed = busy.publisher.receive()?;
                count += confirmed;
                busy.missing -= confirmed;
                if busy.missing > 0 {
                    return Ok(());
                }
                if is_over {
                    idle += 1;
                    return Ok(());
                }
                busy.send(*at_once)
            })?;
        }
        Ok(count)
    }
}

impl Busy {
    fn send(&mut self, events: usize) -> Result<()> {
        self.missing = events;
        self.publisher.send(self.requests.as_bytes())
    }
}
