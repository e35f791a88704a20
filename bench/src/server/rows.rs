//! The rows: the number of sessions and their traffic during the measurement.

use std::time::Duration;

use crate::harness::Result;

/// The heartbeat's period.
pub const PERIOD: Duration = Duration::from_secs(1);

/// Events that a burst publishes at once.
const BURST: u32 = 16;

#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Row {
    pub sessions: usize,
    pub doing: Doing,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// The sessions wait after their first event; the row measures memory.
    Waiting,
    /// The sessions receive heartbeats.
    Heartbeats,
    /// The sessions receive events in groups; each session receives a group before the next is published.
    Receiving { at_once: u32 },
}

impl Row {
    pub const fn new(sessions: usize, doing: Doing) -> Self {
        Self { sessions, doing }
    }

    pub fn all(quick: bool) -> Vec<Self> {
        let sizes: &[usize] = if quick { &[1_000] } else { &[1_000, 10_000] };
        let most = sizes[sizes.len() - 1];
        let mut rows = vec![
            Self::new(most, Doing::Waiting),
            Self::new(most, Doing::Heartbeats),
        ];
        for at_once in [1, BURST] {
            rows.extend(
                sizes
                    .iter()
                    .map(|&sessions| Self::new(sessions, Doing::Receiving { at_once })),
            );
        }
        rows
    }

    pub fn named(name: &str) -> Result<Self> {
        let mut rows = [true, false].into_iter().flat_map(Self::all);
        let named = rows.find(|row| row.name() == name);
        named.ok_or_else(|| format!("no case is named {name}").into())
    }

    pub fn name(self) -> String {
        let thousands = self.sessions / 1_000;
        match self.doing {
            Doing::Waiting => format!("{thousands},000 sessions: memory"),
            Doing::Heartbeats => format!("{thousands},000 sessions: heartbeats"),
            Doing::Receiving { at_once: 1 } => format!("{thousands},000 sessions: one by one"),
            Doing::Receiving { at_once } => {
                format!("{thousands},000 sessions: bursts of {at_once}")
            }
        }
    }

    /// The unit of the row.
    pub fn unit(self) -> &'static str {
        match self.doing {
            Doing::Waiting => "bytes a session",
            Doing::Heartbeats => "ns a heartbeat",
            Doing::Receiving { .. } => "ns a delivery",
        }
    }

    /// Groups of events that are published during the measurement.
    pub fn groups(self, quick: bool) -> usize {
        let deliveries = if quick { 20_000 } else { 150_000 };
        (deliveries / self.sessions).max(5)
    }

    /// The time during which heartbeats are counted.
    pub fn duration(quick: bool) -> Duration {
        Duration::from_secs(if quick { 3 } else { 10 })
    }
}
