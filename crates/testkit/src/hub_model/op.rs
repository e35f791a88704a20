//! `Op`: the steps of a case, and their random choice.

use std::time::Duration;

use fastrand::Rng;

use super::client::{ClientSpec, Policy, StartPoint, TimeOf};
use crate::model_log::{LogKind, Restart};

pub(super) const CHANNELS: [&str; 16] = [
    "a", "a/b", "a/b/c", "a/b/d", "a/e", "b", "b/c", "c", "d", "e/1", "e/2", "e/3", "f", "g", "h",
    "i",
];
const PATTERNS: [&str; 5] = ["a/*", "a/b/*", "b/*", "e/*", "x/*"];

/// A step of a case. Hubs, channels and clients are indices, taken modulo their number, so that a step
/// is valid after any other steps.
#[derive(Debug, Clone)]
pub(super) enum Op {
    Publish {
        hub: usize,
        channel: usize,
        padding: usize,
        key: Option<u8>,
    },
    /// Appends to the log directly, as another node does.
    Append {
        channel: usize,
        padding: usize,
    },
    AppendEnd {
        channel: usize,
    },
    End {
        hub: usize,
        channel: usize,
    },
    Produce {
        hub: usize,
        channel: usize,
    },
    PublishByProducer {
        producer: usize,
    },
    FinishProducer {
        producer: usize,
    },
    DropProducer {
        producer: usize,
    },
    /// Trims the log to its newest `keep` entries.
    Trim {
        keep: u64,
    },
    /// Removes the newest `by` entries.
    Rewind {
        by: u64,
    },
    /// Gives the log a new epoch.
    Renew,
    /// The log does the work of its next call, or finds the next batch of a tail, and its answer is lost.
    LoseAnswer,
    Drain {
        hub: usize,
    },
    /// Only the log restarts.
    Restart(Restart),
    /// All hubs crash. The log loses its newest `by` entries, and `grow` others are appended.
    Crash {
        by: u64,
        grow: usize,
    },
    Subscribe {
        hub: usize,
        spec: ClientSpec,
    },
    Poll {
        client: usize,
        frames: usize,
    },
    Receive {
        client: usize,
        bytes: usize,
    },
    Checkpoint {
        client: usize,
    },
    Cut {
        client: usize,
    },
    Connect {
        client: usize,
        hub: usize,
        sent: SentId,
        /// To a hub that was drained, if there is one.
        is_drained: bool,
    },
    Leave {
        client: usize,
    },
    /// Yields to the tasks of the runtime this many times.
    Run {
        turns: usize,
    },
    Sleep {
        millis: u64,
    },
}

/// The ID that a client sends in place of its last event ID.
#[derive(Debug, Clone, Copy)]
pub(super) enum SentId {
    Unchanged,
    /// Behind another ID, as HTTP joins the lines of a repeated header.
    Joined,
    NoPosition,
    OtherEpoch,
}

/// The hubs and the log of a case.
#[derive(Debug, Clone)]
pub(super) struct Setup {
    pub(super) seed: u64,
    pub(super) log: LogKind,
    pub(super) hubs: usize,
    pub(super) tape_bytes: [usize; 2],
    pub(super) max_events: Option<u64>,
    pub(super) max_age: Option<Duration>,
    pub(super) remembered_channels: u64,
    pub(super) delays: usize,
}

impl Setup {
    pub(super) fn random(
        seed: u64,
        rng: &mut Rng,
        choose: impl FnOnce(&mut Rng) -> LogKind,
    ) -> Self {
        let mut tape_bytes = || [0, 300, 1_000, 3_000, 20_000, 1 << 20][rng.usize(..6)];
        let tape_bytes = [tape_bytes(), tape_bytes()];
        let log = choose(rng);
        let removes_by_age = log.removes_by_age();
        Self {
            seed,
            tape_bytes,
            log,
            hubs: rng.usize(1..=2),
            max_events: [Some(5), Some(20), Some(60), Some(200), None][rng.usize(..5)],
            max_age: [None, None, None, Some(30), Some(10_000)][rng.usize(..5)]
                .filter(|_| removes_by_age)
                .map(Duration::from_millis),
            remembered_channels: [0, 1, 2, 5, 100_000, 100_000][rng.usize(..6)],
            delays: [0, 0, 1, 3][rng.usize(..4)],
        }
    }
}

/// The frequencies of the steps of a case.
struct Mix {
    /// A calm log is never rewound, and keeps its epoch: its clients receive no gaps for that.
    is_calm: bool,
    may_lose: bool,
    /// The channels, the busiest first; `None` if all are equally busy.
    busiest: Option<Vec<usize>>,
    has_restarts: bool,
}

impl Mix {
    fn random(rng: &mut Rng, has_restarts: bool) -> Self {
        let mut busiest: Vec<_> = (0..CHANNELS.len()).collect();
        rng.shuffle(&mut busiest);
        Self {
            is_calm: rng.bool(),
            may_lose: rng.u32(..4) == 0,
            busiest: Some(busiest).filter(|_| rng.u32(..4) > 0),
            has_restarts,
        }
    }

    /// The channel of an event. The busiest one has 50 times as many as the quietest one.
    fn channel(&self, rng: &mut Rng) -> usize {
        let below = CHANNELS.len();
        match &self.busiest {
            Some(busiest) => {
                busiest[{
                    let below = rng.usize(1..=below);
                    rng.usize(..below)
                }]
            }
            None => rng.usize(..below),
        }
    }
}

/// Random steps.
pub(super) fn ops(rng: &mut Rng, count: usize, has_restarts: bool) -> Vec<Op> {
    let mix = Mix::random(rng, has_restarts);
    let op = |_| restart(rng, &mix).unwrap_or_else(|| op(rng, &mix));
    (0..count).map(op).collect()
}

/// Now and then a restart of the log, if it has restarts.
fn restart(rng: &mut Rng, mix: &Mix) -> Option<Op> {
    let is_due = mix.has_restarts && rng.u32(..150) == 0;
    is_due.then(|| Op::Restart([Restart::Clean, Restart::Killed][rng.usize(..2)]))
}

fn op(rng: &mut Rng, mix: &Mix) -> Op {
    let hub = rng.usize(..2);
    let client = rng.usize(..8);
    let producer = rng.usize(..4);
    let channel = mix.channel(rng);
    match rng.u32(..1_000) {
        0..260 => Op::Publish {
            hub,
            channel,
            padding: padding(rng),
            key: key(rng),
        },
        260..310 => Op::Append {
            channel,
            padding: padding(rng),
        },
        310..316 => Op::AppendEnd { channel },
        316..323 => Op::End { hub, channel },
        323..328 => Op::Produce { hub, channel },
        328..348 => Op::PublishByProducer { producer },
        348..351 => Op::FinishProducer { producer },
        351..354 => Op::DropProducer { producer },
        354..360 => Op::Trim {
            keep: rng.u64(..40),
        },
        360..364 if !mix.is_calm => Op::Rewind { by: rng.u64(1..12) },
        364..367 if !mix.is_calm => Op::Renew,
        367..369 => Op::Drain { hub },
        990..993 if mix.may_lose => Op::LoseAnswer,
        369..371 => Op::Crash {
            by: if mix.is_calm { 0 } else { rng.u64(..8) },
            grow: rng.usize(..12),
        },
        371..394 => Op::Subscribe {
            hub,
            spec: spec(rng),
        },
        394..620 => Op::Poll {
            client,
            frames: rng.usize(1..6),
        },
        620..800 => Op::Receive {
            client,
            bytes: bytes(rng),
        },
        800..820 => Op::Checkpoint { client },
        820..850 => Op::Cut { client },
        850..890 => Op::Connect {
            client,
            hub,
            sent: match rng.u32(..120) {
                0 => SentId::NoPosition,
                1 => SentId::OtherEpoch,
                2..12 => SentId::Joined,
                _ => SentId::Unchanged,
            },
            is_drained: rng.u32(..4) == 0,
        },
        890..895 => Op::Leave { client },
        895..990 => Op::Run {
            turns: rng.usize(1..12),
        },
        _ => Op::Sleep {
            millis: match rng.u32(..3) {
                0 => rng.u64(6_000..9_000),
                _ => rng.u64(1..40),
            },
        },
    }
}

fn padding(rng: &mut Rng) -> usize {
    match rng.u32(..200) {
        0 => rng.usize(..100_000),
        1..20 => rng.usize(..2_000),
        _ => rng.usize(..20),
    }
}

fn bytes(rng: &mut Rng) -> usize {
    if rng.bool() {
        rng.usize(..150)
    } else {
        usize::MAX
    }
}

fn key(rng: &mut Rng) -> Option<u8> {
    (rng.u32(..6) == 0).then(|| rng.u8(..8))
}

fn spec(rng: &mut Rng) -> ClientSpec {
    let count = rng.usize(1..=5);
    // Every second client subscribes to names only: such channels may all end.
    let names_only = rng.bool();
    let mut pattern = || {
        if names_only || rng.bool() {
            CHANNELS[rng.usize(..CHANNELS.len())]
        } else {
            PATTERNS[rng.usize(..PATTERNS.len())]
        }
    };
    let patterns = (0..count).map(|_| pattern()).collect();
    let starts = [
        StartPoint::Unset,
        StartPoint::Latest,
        StartPoint::Earliest,
        StartPoint::Snapshot(rng.u64(..4)),
        StartPoint::Last([1, 2, 5, 40][rng.usize(..4)]),
        StartPoint::Time(match rng.u32(..5) {
            0 => TimeOf::Later {
                millis: rng.u64(..30),
            },
            _ => TimeOf::Entry {
                back: rng.usize(..40),
            },
        }),
    ];
    let max_lag = [None, Some(1), Some(3), Some(10), Some(50)][rng.usize(..5)];
    ClientSpec {
        patterns,
        start: starts[rng.usize(..starts.len())],
        policy: [Policy::Skip, Policy::Disconnect, Policy::Latest][rng.usize(..3)],
        max_lag,
        opens_first: rng.u32(..4) > 0,
        names_channels: rng.u32(..3) == 0,
    }
}
