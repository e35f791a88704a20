//! The measurements in process, without sockets: publishing, replay, and the growth of both.

use std::cell::Cell;
use std::rc::Rc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::try_join_all;
use tidings_hub::{
    ChannelName, Draft, Hub, Log, LogError, MemoryLog, Retention, SubscriptionStream,
};
use tokio::runtime::{Builder, Runtime};
use tokio::task::{LocalSet, yield_now};

use crate::harness::{Request, Result, Sample, Tally};
use crate::hub::events::event;
use crate::server::events;

/// Events that are being appended to the log at a time, unless they are published one by one.
const AT_ONCE: usize = 64;

/// The size of a log that has reached its limit, and more events than fit in it: each event that it stores
/// then removes an older one.
fn full(request: &Request) -> (u64, usize) {
    if request.quick {
        (1 << 20, 20_000)
    } else {
        (32 << 20, 300_000)
    }
}

/// Events per replayed channel: fewer in total than a log in memory keeps.
const REPLAYED: usize = 6_400;

/// A contender's name, and its number of channels.
type Channels = (&'static str, usize);

const HUB_CHANNELS: [Channels; 3] = [
    ("10 channels", 10),
    ("1,000 channels", 1_000),
    ("100,000 channels", 100_000),
];

const SUBSCRIBED: [Channels; 4] = [
    ("to 1 channel", 1),
    ("to 4 channels", 4),
    ("to 16 channels", 16),
    ("to 64 channels", 64),
];

/// A contender's name, the bytes that its tapes hold, and the number of channels over which events are
/// spread; one of them is replayed.
const REPLAYS: [(&str, usize, usize); 3] = [
    ("from the tape", 64 << 20, 1),
    ("from the log", 0, 1),
    ("from the log, one channel of 100", 0, 100),
];

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Inside {
    /// A log without a hub, which has reached its limit.
    Append,
    /// No channel has a subscriber. The log has reached its limit.
    Publish {
        at_once: usize,
    },
    /// Each channel has one subscriber.
    Deliver,
    /// One subscription reads several channels.
    Subscribed {
        at_once: usize,
    },
    Replay,
}

impl Inside {
    pub const ALL: [Self; 7] = [
        Self::Append,
        Self::Publish { at_once: 1 },
        Self::Publish { at_once: AT_ONCE },
        Self::Deliver,
        Self::Subscribed { at_once: 1 },
        Self::Subscribed { at_once: AT_ONCE },
        Self::Replay,
    ];

    pub fn name(self) -> String {
        match self {
            Self::Append => "append to a full log".to_owned(),
            Self::Publish { at_once: 1 } => "publish, one by one".to_owned(),
            Self::Publish { at_once } => format!("publish, {at_once} at once"),
            Self::Deliver => "publish and receive, one by one".to_owned(),
            Self::Subscribed { at_once: 1 } => "receive one by one".to_owned(),
            Self::Subscribed { at_once } => format!("receive {at_once} at once"),
            Self::Replay => format!("replay of {REPLAYED} events"),
        }
    }

    pub fn contenders(self) -> Vec<&'static str> {
        match self {
            Self::Append | Self::Publish { .. } | Self::Deliver => {
                HUB_CHANNELS.map(|(name, _)| name).to_vec()
            }
            Self::Subscribed { .. } => SUBSCRIBED.map(|(name, _)| name).to_vec(),
            Self::Replay => REPLAYS.map(|(name, ..)| name).to_vec(),
        }
    }

    pub fn sample(self, request: &Request) -> Result<Sample> {
        let runtime = Builder::new_current_thread().enable_time().build()?;
        match self {
            Self::Append => append(request, named(&HUB_CHANNELS, request)?),
            Self::Publish { at_once } => {
                let channels = named(&HUB_CHANNELS, request)?;
                publish(request, &runtime, channels, at_once)
            }
            Self::Deliver => deliver(request, &runtime, named(&HUB_CHANNELS, request)?),
            Self::Subscribed { at_once } => {
                let channels = named(&SUBSCRIBED, request)?;
                receive(request, &runtime, channels, at_once)
            }
            Self::Replay => replay(request, &runtime),
        }
    }
}

fn named(contenders: &[Channels], request: &Request) -> Result<usize> {
    let found = contenders
        .iter()
        .find(|(name, _)| *name == request.contender);
    found.map_or_else(
        || Err("nobody is named so".into()),
        |&(_, channels)| Ok(channels),
    )
}

/// A hub and a publisher that publishes to all of its channels equally.
struct Stage {
    hub: Hub,
    names: Vec<String>,
    published: usize,
}

impl Stage {
    fn new(hub: Hub, channels: usize) -> Self {
        Self {
            hub,
            names: names(channels),
            published: 0,
        }
    }

    async fn publish(&mut self, events: usize) {
        let numbers = self.published..self.published + events;
        self.published = numbers.end;
        let published = numbers.map(|number| {
            self.hub
                .publish(nth_name(&self.names, number), event(number))
        });
        try_join_all(published).await.expect("it is kept");
    }
}

fn names(channels: usize) -> Vec<String> {
    let names = (0..channels).map(|number| format!("channels/{number}"));
    names.collect()
}

/// The channel of the nth event. Adjacent channels lie as far apart in memory as in a hub that has grown.
fn nth_name(names: &[String], number: usize) -> &str {
    &names[number.wrapping_mul(7_919) % names.len()]
}

fn append(request: &Request, channels: usize) -> Result<Sample> {
    const EVENTS: usize = 1_000;
    let (bytes, full) = full(request);
    let log = MemoryLog::new(Retention::in_memory().max_bytes(bytes));
    let names = names(channels);
    let body = Bytes::from(events::event(0));
    let mut appended = 0..;
    let mut append = |events: usize| {
        for number in appended.by_ref().take(events) {
            let name = ChannelName::new(nth_name(&names, number)).expect("it is a name");
            let stored = log.append(Draft::event(name, body.clone())).now_or_never();
            stored.expect("memory does not wait")?;
        }
        Ok::<(), LogError>(())
    };
    append(full)?;
    Sample::take(request, EVENTS as u64, || {
        append(EVENTS).expect("it is kept");
        None
    })
}

fn publish(
    request: &Request,
    runtime: &Runtime,
    channels: usize,
    at_once: usize,
) -> Result<Sample> {
    const GROUPS: usize = 100;
    let (bytes, full) = full(request);
    let retention = Retention::in_memory().max_bytes(bytes);
    let hub = runtime.block_on(async { Hub::builder().in_memory(retention) });
    let mut stage = Stage::new(hub, channels);
    for _ in 0..full.div_ceil(AT_ONCE) {
        runtime.block_on(stage.publish(AT_ONCE));
    }
    Sample::take(request, (GROUPS * at_once) as u64, || {
        runtime.block_on(async {
            for _ in 0..GROUPS {
                stage.publish(at_once).await;
            }
        });
        None
    })
}

fn deliver(request: &Request, runtime: &Runtime, channels: usize) -> Result<Sample> {
    const EVENTS: usize = 100;
    let hub = runtime.block_on(async { Hub::in_memory() });
    let mut stage = Stage::new(hub, channels);
    let tasks = LocalSet::new();
    let received = Rc::new(Cell::new(0));
    let _entered = runtime.enter();
    for name in &stage.names {
        let mut subscription = stage.hub.subscribe(name).resume_after(None);
        let received = Rc::clone(&received);
        tasks.spawn_local(async move {
            loop {
                let events = next(&mut subscription).await;
                received.set(received.get() + events);
            }
        });
    }
    Sample::take(request, EVENTS as u64, || {
        tasks.block_on(runtime, async {
            for _ in 0..EVENTS {
                stage.publish(1).await;
                while received.get() < stage.published {
                    yield_now().await;
                }
            }
        });
        assert_eq!(received.get(), stage.published, "more was received");
        None
    })
}

fn receive(
    request: &Request,
    runtime: &Runtime,
    channels: usize,
    at_once: usize,
) -> Result<Sample> {
    const GROUPS: usize = 100;
    let hub = runtime.block_on(async { Hub::in_memory() });
    let mut stage = Stage::new(hub, channels);
    let mut subscription = stage.hub.subscribe_all(&stage.names).resume_after(None);
    let mut received = 0;
    Sample::take(request, (GROUPS * at_once) as u64, || {
        runtime.block_on(async {
            for _ in 0..GROUPS {
                stage.publish(at_once).await;
                while received < stage.published {
                    received += next(&mut subscription).await;
                }
            }
        });
        assert_eq!(received, stage.published, "more was received");
        None
    })
}

fn replay(request: &Request, runtime: &Runtime) -> Result<Sample> {
    let found = REPLAYS.iter().find(|(name, ..)| *name == request.contender);
    let &(_, tape_bytes, channels) = found.ok_or("nobody is named so")?;
    let hub = Hub::builder().tape_bytes(tape_bytes);
    let hub = runtime.block_on(async { hub.in_memory(Retention::in_memory()) });
    let mut stage = Stage::new(hub, channels);
    for _ in 0..(REPLAYED * channels) / AT_ONCE {
        runtime.block_on(stage.publish(AT_ONCE));
    }
    Sample::take(request, REPLAYED as u64, || {
        let subscription = stage.hub.subscribe(&stage.names[0]).earliest();
        let mut subscription = subscription.resume_after(None);
        let mut tally = Tally::default();
        runtime.block_on(async {
            while tally.events < REPLAYED as u64 {
                tally.events += next(&mut subscription).await as u64;
            }
        });
        Some(tally)
    })
}

/// The number of events in the next read.
async fn next(subscription: &mut SubscriptionStream) -> usize {
    let events = subscription.next().await;
    events.expect("it goes on").expect("it is whole").count()
}
