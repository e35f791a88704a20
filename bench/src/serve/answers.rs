//! The measurement of many answers at once. Each is a channel with one reader, and some readers reload.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::time::Instant;

use crate::harness::{Part, Request, Result, Sample};
use crate::resuming::percentile;
use crate::serve::crowd::{Crowd, TIMEOUT};
use crate::serve::event_stream::Received;
use crate::serve::poller::Poller;
use crate::serve::program::{Product, Program};
use crate::serve::publisher::Publisher;
use crate::serve::requests::batch;

/// The time between two events of an answer.
const TICK: Duration = Duration::from_millis(200);

/// One reader of so many reloads.
const RELOADS: usize = 5;

/// How long a reader who reloads has the stream open, in milliseconds, and how long it is away. It is away
/// for two ticks or more, so that it has missed an event when it returns.
const OPEN: (u64, u64) = (500, 4_500);
const AWAY: (u64, u64) = (400, 1_400);

/// Publishers, each of which publishes the events of its answers in batches.
const PUBLISHERS: usize = 2;
const LINES: usize = 250;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// The time from the reconnection of a reader to its first event: the 99th percentile.
    Reload,
    /// The wall time of an event, and the server's CPU time: the rate that was reached.
    Event,
}

/// The size of a run.
#[derive(Clone, Copy)]
struct Size {
    answers: usize,
    /// The events of each answer.
    ticks: usize,
}

impl Size {
    fn of(quick: bool) -> Self {
        if quick {
            Self {
                answers: 1_000,
                ticks: 15,
            }
        } else {
            Self {
                answers: 10_000,
                ticks: 75,
            }
        }
    }
}

impl Answers {
    pub const ALL: [Self; 2] = [Self::Reload, Self::Event];

    pub fn name(self, quick: bool) -> String {
        let answers = readers(quick) / 1_000;
        match self {
            Self::Reload => format!("{answers},000 answers: p99 of a reload"),
            Self::Event => format!("{answers},000 answers: an event"),
        }
    }

    pub fn sample(self, request: &Request) -> Result<Sample> {
        let size = Size::of(request.quick);
        let program = Program::start(request, Product::Tidings)?;
        let mut stage = Stage::open(program.address, size)?;
        let before = program.usage()?;
        let time = stage.run(size)?;
        let cpu = program.usage()?.cpu_ns - before.cpu_ns;
        stage.report(size, time, cpu);
        let (cost, part, units) = match self {
            Self::Reload => (percentile(stage.returns, 99)?, None, 1),
            Self::Event => (time, Some(Part::Program(cpu)), size.answers * size.ticks),
        };
        Ok(Sample {
            cost: u64::try_from(cost.as_nanos())?,
            part,
            units: units as u64,
            tally: None,
        })
    }
}

/// The number of readers.
pub fn readers(quick: bool) -> usize {
    Size::of(quick).answers
}

fn channel(number: usize) -> String {
    format!("answers/{number:05}")
}

struct Stage {
    address: SocketAddr,
    crowd: Crowd,
    readers: Vec<Reader>,
    /// When which reader closes its stream, or opens it again.
    moves: BinaryHeap<Reverse<(Instant, usize)>>,
    dice: Dice,
    /// The times from the reconnection of a reader to its first event.
    returns: Vec<Duration>,
}

#[derive(Default)]
struct Reader {
    /// The events received so far, which is the number of the next one.
    received: usize,
    last_id: Option<String>,
    is_away: bool,
    /// When it returned, until its first event.
    returned: Option<Instant>,
}

impl Stage {
    fn open(address: SocketAddr, size: Size) -> Result<Self> {
        let requests =
            (0..size.answers).map(|number| Product::Tidings.subscription(&channel(number), None));
        let mut stage = Self {
            address,
            crowd: Crowd::open(address, Poller::sleeping()?, requests)?,
            readers: (0..size.answers).map(|_| Reader::default()).collect(),
            moves: BinaryHeap::new(),
            dice: Dice(0),
            returns: Vec::new(),
        };
        for number in (0..size.answers).step_by(RELOADS) {
            stage.move_in(OPEN, number);
        }
        Ok(stage)
    }

    /// Publishes all events, and waits until each reader has received its own. Returns the time of the
    /// publishers.
    fn run(&mut self, size: Size) -> Result<Duration> {
        let mut publishers = publish(self.address, size);
        let (mut time, mut end) = (None, None);
        while time.is_none() || !self.is_complete(size) {
            self.read()?;
            self.reload(time.is_some())?;
            if time.is_none() && publishers.iter().all(JoinHandle::is_finished) {
                time = Some(join(std::mem::take(&mut publishers))?);
                end = Some(Instant::now() + TIMEOUT);
            }
            if end.is_some_and(|end| Instant::now() > end) {
                return Err("not all events were received".into());
            }
        }
        time.ok_or_else(|| "nothing was published".into())
    }

    fn is_complete(&self, size: Size) -> bool {
        let is_complete = |reader: &Reader| reader.received == size.ticks;
        self.readers.iter().all(is_complete)
    }

    fn read(&mut self) -> Result<()> {
        let Self {
            crowd,
            readers,
            returns,
            ..
        } = self;
        crowd.poll(|number, event| {
            let reader = &mut readers[number];
            returns.extend(reader.returned.take().map(|begin| begin.elapsed()));
            let received = reader.receive(&event);
            received.map_err(|error| format!("answer {number}: {error}").into())
        })
    }

    /// Lets the readers whose time has come close their streams or open them again. After the last
    /// event, none closes its stream.
    fn reload(&mut self, is_over: bool) -> Result<()> {
        let now = Instant::now();
        while let Some(&Reverse((time, number))) = self.moves.peek() {
            if time > now {
                break;
            }
            self.moves.pop();
            let reader = &mut self.readers[number];
            if reader.is_away {
                reader.is_away = false;
                reader.returned = Some(Instant::now());
                let after = reader.last_id.as_deref();
                let request = Product::Tidings.subscription(&channel(number), after);
                self.crowd.reopen(number, &request)?;
                self.move_in(OPEN, number);
            } else if !is_over {
                reader.is_away = true;
                reader.returned = None;
                self.crowd.close(number);
                self.move_in(AWAY, number);
            }
        }
        Ok(())
    }

    fn move_in(&mut self, (least, most): (u64, u64), reader: usize) {
        let millis = least + self.dice.throw(most - least);
        let time = Instant::now() + Duration::from_millis(millis);
        self.moves.push(Reverse((time, reader)));
    }

    #[allow(clippy::cast_precision_loss, reason = "no run is that large")]
    fn report(&self, size: Size, time: Duration, cpu_ns: u64) {
        let events = (size.answers * size.ticks) as f64;
        let asked = size.answers as f64 / TICK.as_secs_f64();
        let at = |percent| {
            let time = percentile(self.returns.clone(), percent).unwrap_or_default();
            time.as_secs_f64() * 1_000.0
        };
        eprintln!(
            "  {asked:.0} events/s asked, {:.0} reached, server {:.0} % of a core; {} reloads: \
             median {:.1} ms, p99 {:.1} ms",
            events / time.as_secs_f64(),
            cpu_ns as f64 / 1e7 / time.as_secs_f64(),
            self.returns.len(),
            at(50),
            at(99),
        );
    }
}

impl Reader {
    /// Fails unless this is the next event.
    fn receive(&mut self, event: &Received<'_>) -> Result<()> {
        let number = event
            .data
            .split(' ')
            .next()
            .and_then(|text| text.parse().ok());
        if number != Some(self.received) {
            let (next, data) = (self.received, event.data);
            return Err(format!("event {next} arrived as {data}").into());
        }
        self.received += 1;
        let id = self.last_id.get_or_insert_default();
        id.clear();
        id.push_str(event.id);
        Ok(())
    }
}

type Publishing = JoinHandle<std::result::Result<Duration, String>>;

/// Starts the publishers.
fn publish(address: SocketAddr, size: Size) -> Vec<Publishing> {
    let begin = Instant::now();
    let start = |publisher| {
        thread::spawn(move || {
            let published = publish_own(address, size, publisher, begin);
            published.map_err(|error| error.to_string())
        })
    };
    (0..PUBLISHERS).map(start).collect()
}

/// The time of the slowest publisher.
fn join(publishers: Vec<Publishing>) -> Result<Duration> {
    let mut longest = Duration::ZERO;
    for publisher in publishers {
        let time = publisher.join().map_err(|_| "a publisher panicked")??;
        longest = longest.max(time);
    }
    Ok(longest)
}

/// Publishes every second batch of each tick, if there are two publishers. The batches are spread over the
/// time of the tick.
fn publish_own(
    address: SocketAddr,
    size: Size,
    publisher: usize,
    begin: Instant,
) -> Result<Duration> {
    let batches = size.answers / LINES;
    let pause = TICK / u32::try_from(batches)?;
    let mut connection = Publisher::open(address, Some(LINES))?;
    for tick in 0..size.ticks {
        let start = begin + TICK * u32::try_from(tick)?;
        for number in (publisher..batches).step_by(PUBLISHERS) {
            sleep_until(start + pause * u32::try_from(number)?);
            let answers = number * LINES..(number + 1) * LINES;
            let data = format!("{tick} and a few words");
            let requests = batch(answers.map(|answer| (channel(answer), data.clone())));
            connection.send(requests.as_bytes())?;
            connection.await_confirmed(LINES)?;
        }
    }
    Ok(begin.elapsed())
}

#[allow(
    clippy::disallowed_methods,
    reason = "another process is measured, which shares no clock"
)]
fn sleep_until(time: Instant) {
    thread::sleep(time.saturating_duration_since(Instant::now()));
}

/// Numbers that are spread evenly, and the same in each run.
struct Dice(u64);

impl Dice {
    /// A number below `end`.
    fn throw(&mut self, end: u64) -> u64 {
        // A step of the golden ratio, as in Fibonacci hashing.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        ((self.0 >> 32) * end) >> 32
    }
}
