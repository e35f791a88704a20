//! The rows over sockets: the number of subscribers and the traffic.

use crate::hub::contenders::{
    AXUM_SSE, AXUM_SSE_ON_HYPER, BARE, ON_HYPER, ONE_SLICE, SERVE, TAPE_BODY,
};

/// Events that a burst publishes at once.
const BURST: u32 = 16;

/// The quiet time after which a session sends a heartbeat, in seconds.
pub const HEARTBEAT: u64 = 15;

const ALL: [&str; 7] = [
    ON_HYPER,
    ONE_SLICE,
    SERVE,
    TAPE_BODY,
    AXUM_SSE_ON_HYPER,
    AXUM_SSE,
    BARE,
];

#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Row {
    pub subscribers: usize,
    pub doing: Doing,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// Each subscriber receives an event before the next one is published.
    Lockstep,
    /// The same, with bursts of events that are published at once.
    Bursts,
    /// More bytes are published at once than one write takes.
    Backlog { at_once: u32 },
    /// Many events are published at once; the row measures memory.
    Flood { events: u32 },
    /// The row measures the time until subscribers receive an event.
    Latency,
}

impl Row {
    const fn new(subscribers: usize, doing: Doing) -> Self {
        Self { subscribers, doing }
    }

    pub fn all(quick: bool) -> Vec<Self> {
        let sizes: &[usize] = if quick { &[1_000] } else { &[1_000, 10_000] };
        let mut rows = Vec::new();
        for doing in [Doing::Bursts, Doing::Lockstep] {
            rows.extend(
                sizes
                    .iter()
                    .map(|&subscribers| Self::new(subscribers, doing)),
            );
        }
        rows.push(Self::new(1_000, Doing::Latency));
        rows.push(Self::new(1_000, Doing::Backlog { at_once: 1_000 }));
        if !quick {
            rows.push(Self::new(10_000, Doing::Backlog { at_once: 200 }));
        }
        rows.push(Self::new(100, Doing::Flood { events: 10_000 }));
        rows
    }

    pub fn name(self) -> String {
        let subscribers = match self.subscribers {
            few @ ..1_000 => few.to_string(),
            many => format!("{},000", many / 1_000),
        };
        let doing = match self.doing {
            Doing::Lockstep => "lockstep".to_owned(),
            Doing::Bursts => format!("bursts of {BURST}"),
            Doing::Backlog { at_once } => format!("backlog of {at_once}"),
            Doing::Flood { events } => format!("memory of {events} events"),
            Doing::Latency => "p99 of an event".to_owned(),
        };
        format!("{subscribers} subscribers: {doing}")
    }

    /// The unit of the row.
    pub fn unit(self) -> &'static str {
        match self.doing {
            Doing::Lockstep | Doing::Bursts | Doing::Backlog { .. } => "ns a delivery",
            Doing::Flood { .. } => "bytes",
            Doing::Latency => "ns",
        }
    }

    pub fn contenders(self, quick: bool) -> Vec<&'static str> {
        let takes_part = |&name: &&str| match name {
            // The bare loop keeps nothing for a client that it cannot write to, so it takes part only where
            // all clients keep up.
            BARE => !matches!(self.doing, Doing::Backlog { .. } | Doing::Flood { .. }),
            // This contender has no target.
            ONE_SLICE => !quick,
            _ => true,
        };
        ALL.into_iter().filter(takes_part).collect()
    }

    pub fn at_once(self) -> u32 {
        match self.doing {
            Doing::Lockstep | Doing::Latency => 1,
            Doing::Bursts => BURST,
            Doing::Backlog { at_once } => at_once,
            Doing::Flood { events } => events,
        }
    }

    /// Groups of events that are published during the measurement.
    pub fn groups(self, quick: bool) -> usize {
        let deliveries = if quick { 20_000 } else { 150_000 };
        match self.doing {
            Doing::Lockstep | Doing::Bursts => (deliveries / self.subscribers).max(5),
            Doing::Backlog { .. } if quick => 1,
            Doing::Backlog { .. } => 4,
            Doing::Flood { .. } => 1,
            Doing::Latency if quick => 20,
            Doing::Latency => 200,
        }
    }
}
