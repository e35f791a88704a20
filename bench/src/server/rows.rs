//! Owns the rows: how many sessions there are, and what they do while they are measured.

use std::time::Duration;

use crate::harness::Result;

/// How often a session with a heartbeat is sent one.
pub const PERIOD: Duration = Duration::from_secs(1);

/// How many events are published at once in a burst.
const BURST: u32 = 16;

#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Row {
    pub sessions: usize,
    pub doing: Doing,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// Nothing, after they have heard an event: what is measured is memory.
    Waiting,
    /// They hear heartbeats.
    Heartbeats,
    /// They hear events that are published in groups: everybody has heard one before the next.
    Hearing { at_once: u32 },
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
                    .map(|&sessions| Self::new(sessions, Doing::Hearing { at_once })),
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
            Doing::Hearing { at_once: 1 } => format!("{thousands},000 sessions: one by one"),
            Doing::Hearing { at_once } => format!("{thousands},000 sessions: bursts of {at_once}"),
        }
    }

    /// What is counted, and in what.
    pub fn unit(self) -> &'static str {
        match self.doing {
            Doing::Waiting => "bytes a session",
            Doing::Heartbeats => "ns a beat",
            Doing::Hearing { .. } => "ns a delivery",
        }
    }

    /// How many groups of events are published while it is measured.
    pub fn groups(self, quick: bool) -> usize {
        let deliveries = if quick { 20_000 } else { 150_000 };
        (deliveries / self.sessions).max(5)
    }

    /// How long heartbeats are heard.
    pub fn duration(quick: bool) -> Duration {
        Duration::from_secs(if quick { 3 } else { 10 })
    }
}
