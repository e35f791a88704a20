//! The memory of a channel.

use std::ops::Range;

use futures::FutureExt;
use futures::future::try_join_all;
use tidings_hub::{Hub, SubscriptionStream};
use tokio::runtime::Builder;

use crate::harness::{Request, Result, Sample};
use crate::hub::events::event;
use crate::server::usage::Usage;

/// Channels with one event each and no subscriber.
pub const NAMED: &str = "named";
/// Some of these channels, with a subscriber.
pub const LIVE: &str = "read";

pub const CONTENDERS: [&str; 2] = [NAMED, LIVE];

const READ: usize = 10_000;

pub fn name(quick: bool) -> String {
    format!("{} channels: memory", channels(quick))
}

fn channels(quick: bool) -> usize {
    if quick { 100_000 } else { 1_000_000 }
}

pub fn sample(request: &Request) -> Result<Sample> {
    let runtime = Builder::new_current_thread().enable_time().build()?;
    let channels = channels(request.quick);
    runtime.block_on(async {
        let before = Usage::now()?.rss_bytes;
        let hub = Hub::in_memory();
        publish(&hub, 0..channels).await?;
        let named = Usage::now()?.rss_bytes;
        let are_read = channels - READ..channels;
        let subscriptions = are_read
            .clone()
            .map(|n| hub.subscribe(channel(n)).resume_after(None));
        let mut subscriptions: Vec<_> = subscriptions.collect();
        for subscription in &mut subscriptions {
            wait(subscription)?;
        }
        publish(&hub, are_read).await?;
        for subscription in &mut subscriptions {
            read(subscription).await?;
            wait(subscription)?;
        }
        let read = Usage::now()?.rss_bytes;
        let (cost, units) = match &*request.contender {
            NAMED => (named.saturating_sub(before), channels),
            _ => (read.saturating_sub(named), READ),
        };
        Ok(Sample {
            cost,
            part: None,
            units: units as u64,
            tally: None,
        })
    })
}

async fn publish(hub: &Hub, channels: Range<usize>) -> Result<()> {
    const AT_ONCE: usize = 100;
    for first in channels.step_by(AT_ONCE) {
        let numbers = first..first + AT_ONCE;
        let published = numbers.map(|number| hub.publish(channel(number), event(number)));
        try_join_all(published).await?;
    }
    Ok(())
}

/// Fails if the subscription already has events.
fn wait(subscription: &mut SubscriptionStream) -> Result<()> {
    match subscription.next().now_or_never() {
        None => Ok(()),
        Some(_) => Err("more was received than was published".into()),
    }
}

async fn read(subscription: &mut SubscriptionStream) -> Result<()> {
    let events = subscription.next().await.ok_or("it is over")??;
    if events.count() == 1 {
        Ok(())
    } else {
        Err("another number of events was published".into())
    }
}

fn channel(number: usize) -> String {
    format!("channels/{number}")
}
