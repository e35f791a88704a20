//! The measurements over sockets.

use std::time::Duration;

use crate::harness::{Request, Result, Sample, Tally, another_core, pin_to};
use crate::hub::contenders::BARE;
use crate::hub::rows::{Doing, HEARTBEAT, Row};
use crate::hub::serving::COMMAND;
use crate::server::control::{Server, Setting};
use crate::server::limits;
use crate::server::scene::{Scene, deliveries};

pub fn sample(request: &Request, row: Row) -> Result<Sample> {
    limits::raise()?;
    let server = start(request.core, &request.contender)?;
    pin_to(another_core(request.core)?)?;
    let (subscribers, groups) = (row.subscribers, row.groups(request.quick));
    match row.doing {
        Doing::Lockstep | Doing::Bursts | Doing::Backlog { .. } => {
            deliveries(server, subscribers, row.at_once(), groups)
        }
        Doing::Flood { events } => memory(server, subscribers, events),
        Doing::Latency => latency(server, subscribers, groups),
    }
}

/// Starts a hub's server on this core.
pub fn start(core: usize, contender: &str) -> Result<Server> {
    let setting = Setting {
        command: COMMAND,
        contender,
        // The bare loop has no heartbeat: it is the lower bound.
        heartbeat: Some(HEARTBEAT).filter(|_| contender != BARE),
        has_ids: true,
        held_bytes: None,
    };
    Server::start(core, setting)
}

/// The largest growth of the server's memory when many events are published at once.
fn memory(server: Server, subscribers: usize, events: u32) -> Result<Sample> {
    let warm_up = 1;
    let all = usize::try_from(events + warm_up)?;
    let mut scene = Scene::open(server, subscribers, Duration::ZERO, all)?;
    scene.publish(warm_up)?;
    let before = scene.server.usage()?;
    scene.publish(events)?;
    let after = scene.server.usage()?;
    Ok(Sample {
        cost: after.peak_bytes.saturating_sub(before.rss_bytes),
        part: None,
        units: 1,
        tally: Some(Tally {
            events: (subscribers * all) as u64,
            data_bytes: scene.load.bytes() as u64,
            checksum: 0,
        }),
    })
}

/// The time until 99 of 100 subscribers have received an event: the median over many events, as a
/// process that waits for its core delays an event for all.
fn latency(server: Server, subscribers: usize, events: usize) -> Result<Sample> {
    const WARM_UP: usize = 5;
    let mut scene = Scene::open(server, subscribers, Duration::ZERO, WARM_UP + events)?;
    scene.load.stay_awake();
    let mut times = Vec::new();
    for _ in 0..WARM_UP + events {
        // The times are in the order of delivery.
        let received = scene.time_one()?;
        times.push(received[received.len() * 99 / 100]);
    }
    times.drain(..WARM_UP);
    times.sort_unstable();
    let median = times[times.len() / 2];
    Ok(Sample {
        cost: u64::try_from(median.as_nanos())?,
        part: None,
        units: 1,
        tally: None,
    })
}
