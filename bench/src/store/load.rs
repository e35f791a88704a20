//! The events of the bench, and their publishers.

use std::ops::Range;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::{self, TryStreamExt};
use tidings_hub::{ChannelName, Draft, Hub, Log, Retention};
use tokio::time::Instant;

use crate::harness::Result;

/// The size of an event on the wire, in bytes.
pub const BODY_BYTES: usize = 166;

/// Appends in flight while a store is filled.
const AT_ONCE: usize = 256;

/// The number of channels, unless a measurement states another.
pub const CHANNELS: usize = 100_000;

/// The text of the nth event.
pub fn text(number: usize) -> String {
    let mut text = format!("{number:010} ");
    while text.len() < BODY_BYTES - "data: \n\n".len() {
        text.push('x');
    }
    text
}

/// The nth event on the wire.
pub fn body(number: usize) -> String {
    format!("data: {}\n\n", text(number))
}

pub fn channel(number: usize) -> ChannelName {
    ChannelName::new(format!("channels/{number:06}")).expect("it is a name")
}

/// The channel of the nth event, if they take turns. Neighbours in the log are far apart in the index.
pub fn turn(number: usize, channels: usize) -> usize {
    number.wrapping_mul(7_919) % channels
}

/// No limit.
pub fn unlimited() -> Retention {
    Retention::durable().max_bytes(u64::MAX).max_age(None)
}

/// Appends these events, to the channels that `channel_of` returns.
pub async fn fill(
    log: &impl Log,
    numbers: Range<usize>,
    channel_of: impl Fn(usize) -> usize,
) -> Result<()> {
    let appends = stream::iter(numbers).map(|number| {
        let draft = Draft::event(channel(channel_of(number)), body(number));
        Ok(log.append(draft))
    });
    appends
        .try_buffer_unordered(AT_ONCE)
        .try_for_each(|_| async { Ok(()) })
        .await?;
    Ok(())
}

/// What publishers append to.
pub enum Target<'a, L> {
    Log(&'a L),
    Hub(&'a Hub),
}

impl<L: Log> Target<'_, L> {
    async fn append(&self, number: usize) -> Result<()> {
        let channel = channel(turn(number, CHANNELS));
        match self {
            Self::Log(log) => {
                log.append(Draft::event(channel, body(number))).await?;
            }
            Self::Hub(hub) => {
                let event = tidings_proto::Event::new(text(number));
                hub.publish(channel, event).await?;
            }
        }
        Ok(())
    }
}

/// Lets so many publishers append one event after the other for this time. Returns the number of events and
/// the time.
pub async fn publish<L: Log>(
    target: Target<'_, L>,
    first: usize,
    publishers: usize,
    time: Duration,
) -> Result<(usize, Duration)> {
    let begin = Instant::now();
    let mut count = 0;
    let numbers = (first..).take_while(|_| begin.elapsed() < time);
    let mut appends = stream::iter(numbers)
        .map(|number| target.append(number))
        .buffer_unordered(publishers);
    while let Some(appended) = appends.next().await {
        appended?;
        count += 1;
    }
    Ok((count, begin.elapsed()))
}
