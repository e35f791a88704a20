//! Owns the rows over sockets: how many subscribers there are, and what they hear.

use crate::hub::contenders::{
    AXUM_SSE, AXUM_SSE_ON_HYPER, BARE, ON_HYPER, ONE_SLICE, SERVE, TAPE_BODY,
};

/// How many events are published at once in a burst.
const BURST: u32 = 16;

/// After how many seconds a quiet session is sent a heartbeat.
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
    /// Each event is heard by everybody before the next is published.
    Lockstep,
    /// So are bursts of events that are published at once.
    Bursts,
    /// More is published at once than a write takes.
    Backlog { at_once: u32 },
    /// They hear many events that are published at once: what is measured is memory.
    Flood { events: u32 },
    /// What is measured is when they hear an event.
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

    /// What is counted, and in what.
    pub fn unit(self) -> &'static str {
        match self.doing {
            Doing::Lockstep | Doing::Bursts | Doing::Backlog { .. } => "ns a delivery",
            Doing::Flood { .. } => "bytes",
            Doing::Latency => "ns",
        }
    }

    pub fn contenders(self, quick: bool) -> Vec<&'static str> {
        let takes_part = |&name: &&str| match name {
            // It keeps nothing for whom it cannot write to, and so is there where all are caught up.
            BARE => !matches!(self.doing, Doing::Backlog { .. } | Doing::Flood { .. }),
            // It has no target.
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

    /// How many groups of events are published while it is measured.
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
