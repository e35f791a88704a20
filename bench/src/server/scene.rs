//! `Scene`: a server and the sessions that receive its events.

use std::time::Duration;

use tokio::time::Instant;

use crate::harness::{Part, Result, Sample, Tally};
use crate::server::control::Server;
use crate::server::events;
use crate::server::load::Load;
use crate::server::usage::Usage;

/// Groups of events that are delivered before the measurement begins.
const WARM_UP: usize = 5;

pub struct Scene {
    pub load: Load,
    pub server: Server,
    published: usize,
}

impl Scene {
    /// Opens sessions, spread evenly over a time, that expect up to this many events.
    pub fn open(server: Server, sessions: usize, over: Duration, events: usize) -> Result<Self> {
        let script = (0..events).map(events::event).collect();
        Ok(Self {
            load: Load::open(server.address, sessions, over, script)?,
            server,
            published: 0,
        })
    }

    /// Publishes events at once, and waits until each session has received them.
    pub fn publish(&mut self, at_once: u32) -> Result<()> {
        self.server.publish(at_once)?;
        self.published += usize::try_from(at_once)?;
        self.load.await_events(self.published)
    }

    /// Publishes one event, and returns the time until each session received it.
    pub fn time_one(&mut self) -> Result<Vec<Duration>> {
        let begin = Instant::now();
        self.server.publish(1)?;
        self.published += 1;
        self.load.time_events(self.published, begin)
    }
}

/// The cost of a delivery: one event received by one session.
pub fn deliveries(server: Server, sessions: usize, at_once: u32, groups: usize) -> Result<Sample> {
    let in_group = usize::try_from(at_once)?;
    // One large group warms up as well as several small ones.
    let warm_up = if in_group < 100 { WARM_UP } else { 1 };
    let events = groups * in_group;
    let mut scene = Scene::open(
        server,
        sessions,
        Duration::ZERO,
        warm_up * in_group + events,
    )?;
    for _ in 0..warm_up {
        scene.publish(at_once)?;
    }
    let (received, before) = (scene.load.bytes(), scene.server.usage()?);
    for _ in 0..groups {
        scene.publish(at_once)?;
    }
    let after = scene.server.usage()?;
    let deliveries = sessions * events;
    // The load compared each event on arrival.
    let tally = Tally {
        events: deliveries as u64,
        data_bytes: (scene.load.bytes() - received) as u64,
        checksum: 0,
    };
    Ok(cost(&before, &after, deliveries, Some(tally)))
}

pub fn cost(before: &Usage, after: &Usage, units: usize, tally: Option<Tally>) -> Sample {
    Sample {
        cost: after.cpu_ns - before.cpu_ns,
        part: Some(Part::UserMode(after.user_ns - before.user_ns)),
        units: units as u64,
        tally,
    }
}
