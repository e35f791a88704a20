//! Subscribers that resume in a log of many channels: what the benches of a hub and of a store share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tidings_hub::{EncodedEvents, Event, Hub, SubscriptionStream};
use tokio::time::{Instant, sleep};

use crate::harness::{Result, Sample};

/// The events that a subscriber of a long channel has missed.
pub const MISSED: usize = 100;

/// Of each thousand entries, one is the first of a long channel, and `MISSED` are the missed ones.
const LONG: usize = MISSED + 1;
const BLOCK: usize = 1_000;

/// The time between two events that are published while many subscribers resume.
const PACE: Duration = Duration::from_millis(1);

/// The channels of a log: one for ten entries. They are stored in turns.
#[derive(Clone, Copy)]
pub struct Layout {
    pub channels: usize,
    /// The number of long channels. They come first, and each has one event more than is missed.
    pub long: usize,
}

impl Layout {
    pub fn of(entries: usize) -> Self {
        Self {
            channels: entries / 10,
            long: entries / BLOCK,
        }
    }

    /// The channel of the nth entry. The entries of a channel are far apart in the log.
    pub fn channel_of(self, number: usize) -> usize {
        let (block, place) = (number / BLOCK, number.wrapping_mul(7_919) % BLOCK);
        match place.checked_sub(LONG) {
            None => (block * LONG + place) % self.long,
            Some(place) => {
                let short = self.channels - self.long;
                self.long + (block * (BLOCK - LONG) + place) % short
            }
        }
    }
}

/// Reads so many events.
pub async fn read(stream: &mut SubscriptionStream, events: usize) -> Result<()> {
    read_into(stream, events, drop).await
}

/// Reads so many events, and passes them on.
pub async fn read_into(
    stream: &mut SubscriptionStream,
    events: usize,
    mut receive: impl FnMut(EncodedEvents),
) -> Result<()> {
    let mut count = 0;
    while count < events {
        let received = stream.next().await.ok_or("it is over")??;
        count += received.count();
        receive(received);
    }
    if count > events {
        return Err("more was received than was missed".into());
    }
    Ok(())
}

/// Runs subscribers, each of which reads so many events, at once. Returns the time until all have received
/// everything, and the longest delay of an event that is published to another subscriber meanwhile.
pub async fn rush(
    hub: Hub,
    subscribers: Vec<(SubscriptionStream, usize)>,
    live: Event,
) -> Result<(Duration, Duration)> {
    let is_over = Arc::new(AtomicBool::new(false));
    let publisher = tokio::spawn(publish_meanwhile(hub, live, Arc::clone(&is_over)));
    let begin = Instant::now();
    let tasks = subscribers.into_iter().map(|(mut stream, missed)| {
        tokio::spawn(async move {
            let received = read(&mut stream, missed).await;
            received.map_err(|error| error.to_string())
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await??;
    }
    let all = begin.elapsed();
    is_over.store(true, Ordering::Relaxed);
    Ok((all, publisher.await??))
}

/// Publishes an event to a subscriber now and then, and returns the longest time until one was received.
async fn publish_meanwhile(
    hub: Hub,
    event: Event,
    is_over: Arc<AtomicBool>,
) -> std::result::Result<Duration, String> {
    let mut stream = hub.subscribe("live").resume_after(None);
    let mut longest = Duration::ZERO;
    while !is_over.load(Ordering::Relaxed) {
        let begin = Instant::now();
        let published = hub.publish("live", event.clone()).await;
        published.map_err(|error| error.to_string())?;
        let received = read(&mut stream, 1).await;
        received.map_err(|error| error.to_string())?;
        longest = longest.max(begin.elapsed());
        sleep(PACE).await;
    }
    Ok(longest)
}

/// The time that so many percent of these times do not exceed.
pub fn percentile(mut times: Vec<Duration>, percent: usize) -> Result<Duration> {
    times.sort_unstable();
    let time = times.get(times.len() * percent / 100);
    Ok(*time.ok_or("nothing was measured")?)
}

/// A sample that is one time.
pub fn sample(cost: Duration) -> Result<Sample> {
    Ok(Sample {
        cost: u64::try_from(cost.as_nanos())?,
        part: None,
        units: 1,
        tally: None,
    })
}
