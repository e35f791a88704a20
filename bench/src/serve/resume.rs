//! The measurement of a subscriber that has missed many events.

use tokio::time::Instant;

use crate::harness::{Part, Request, Result, Sample};
use crate::serve::contenders::{BY_ID, EARLIEST};
use crate::serve::event_stream::EventStream;
use crate::serve::program::{Product, Program};
use crate::serve::publisher::Publisher;
use crate::serve::requests::batch;
use crate::server::events;
use crate::store::folder::Scratch;

const CHANNEL: &str = "x";

/// Events that are published at once before the measurement.
const AT_ONCE: usize = 500;

const BUFFER_BYTES: usize = 256 * 1024;

pub fn name(quick: bool) -> String {
    let events = if quick { "5,000" } else { "100,000" };
    format!("resume of {events} events")
}

fn missed(quick: bool) -> usize {
    if quick { 5_000 } else { 100_000 }
}

pub fn sample(request: &Request) -> Result<Sample> {
    let missed = missed(request.quick);
    let scratch = Scratch::new()?;
    let is_stored = [EARLIEST, BY_ID].contains(&&*request.contender);
    let program = if is_stored {
        let file = format!("--store={}", scratch.file().display());
        let program = Program::tidings(request, &[&file])?;
        fill(&program, missed)?;
        program.end()?;
        // The next process has nothing of the file in its memory.
        Program::tidings(request, &[&file])?
    } else {
        let program = Program::tidings(request, &[])?;
        fill(&program, missed)?;
        program
    };
    let (after, first) = if request.contender == BY_ID {
        let first = first_id(&program)?;
        (Some(first), 1)
    } else {
        (None, 0)
    };
    let (before, begin) = (program.usage()?, Instant::now());
    let subscription = Product::Tidings.subscription(CHANNEL, after.as_deref());
    read(&program, &subscription, first, missed)?;
    let (time, after) = (begin.elapsed(), program.usage()?);
    Ok(Sample {
        cost: u64::try_from(time.as_nanos())?,
        part: Some(Part::Program(after.cpu_ns - before.cpu_ns)),
        units: (missed - first) as u64,
        tally: None,
    })
}

fn fill(program: &Program, events: usize) -> Result<()> {
    let mut publisher = Publisher::open(program.address, Some(AT_ONCE))?;
    for first in (0..events).step_by(AT_ONCE) {
        let numbers = first..first + AT_ONCE;
        let requests = batch(numbers.map(|number| (CHANNEL.to_owned(), events::data(number))));
        publisher.send(requests.as_bytes())?;
        publisher.await_confirmed(AT_ONCE)?;
    }
    Ok(())
}

fn first_id(program: &Program) -> Result<String> {
    let subscription = Product::Tidings.subscription(CHANNEL, None);
    let mut stream = EventStream::open(program.address, &subscription)?;
    let (mut first, mut buffer) = (None, [0; 512]);
    while first.is_none() {
        stream.read(&mut buffer, |event| {
            first.get_or_insert(event.id.to_owned());
            Ok(())
        })?;
    }
    first.ok_or_else(|| "there is no event".into())
}

/// Reads these events on one connection, and fails if one is missing.
fn read(program: &Program, subscription: &str, first: usize, end: usize) -> Result<()> {
    let mut stream = EventStream::open(program.address, subscription)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut next = first;
    while next < end {
        stream.read(&mut buffer, |event| {
            if number(event.data) != Some(next) {
                return Err(format!("event {next} arrived as {}", event.data).into());
            }
            next += 1;
            Ok(())
        })?;
    }
    Ok(())
}

/// The number in the data of an event.
fn number(data: &str) -> Option<usize> {
    data.strip_prefix("{\"number\":")?.get(..10)?.parse().ok()
}
