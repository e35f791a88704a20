//! The hub's bench: the cost of a channel with many subscribers, beside other ways to fan out.
//!
//! As in the server's bench, the server is a process of its own on the measured core, and the load
//! compares each event that each subscriber receives with the published one.

pub mod contenders;
mod events;
mod fan_out;
mod inside;
mod logs;
mod memory;
mod rows;
mod serving;
mod stalled;
mod tape_body;

pub use fan_out::start as start_server;
pub use serving::serve;

use contenders::{AXUM_SSE, AXUM_SSE_ON_HYPER, BARE, ON_HYPER, SERVE, TAPE_BODY};
use inside::Inside;
use logs::Logs;
use memory::NAMED;
use rows::{Doing, Row};
use stalled::{ALONE, Percentile, STALLED};

use crate::harness::{Case, Report, Request, Result, Sample, Target, Wanted};
use crate::server::limits;

/// The kind of measurement.
#[derive(Clone, Copy)]
enum Kind {
    Sockets(Row),
    Stalled(Percentile),
    Memory,
    Inside(Inside),
    Logs(Logs),
}

impl Kind {
    fn all(quick: bool) -> impl Iterator<Item = Self> {
        let rows = Row::all(quick).into_iter().map(Self::Sockets);
        rows.chain(Percentile::ALL.map(Self::Stalled))
            .chain([Self::Memory])
            .chain(Inside::ALL.map(Self::Inside))
            .chain(Logs::ALL.map(Self::Logs))
    }

    fn name(self, quick: bool) -> String {
        match self {
            Self::Sockets(row) => row.name(),
            Self::Stalled(percentile) => percentile.name().to_owned(),
            Self::Memory => memory::name(quick),
            Self::Inside(inside) => inside.name(),
            Self::Logs(logs) => logs.name(quick),
        }
    }

    fn case(self, quick: bool) -> Case {
        let contenders = match self {
            Self::Sockets(row) => row.contenders(quick),
            Self::Stalled(_) => stalled::CONTENDERS.to_vec(),
            Self::Memory => memory::CONTENDERS.to_vec(),
            Self::Inside(inside) => inside.contenders(),
            Self::Logs(logs) => logs.contenders(quick),
        };
        Case {
            name: self.name(quick),
            unit: match self {
                Self::Sockets(row) => row.unit(),
                Self::Stalled(_) => "ns",
                Self::Memory => "bytes a channel",
                Self::Inside(_) => "ns an event",
                Self::Logs(_) => "ns",
            },
            baseline: contenders[0],
            contenders,
            absent: Vec::new(),
        }
    }
}

/// The cases, and notes about those that are left out.
pub fn cases(quick: bool) -> (Vec<Case>, Vec<String>) {
    let (mut cases, mut notes) = (Vec::new(), Vec::new());
    for kind in Kind::all(quick) {
        let possible = match kind {
            Kind::Sockets(row) => limits::check(row.subscribers),
            _ => Ok(()),
        };
        match possible {
            Ok(()) => cases.push(kind.case(quick)),
            Err(reason) => notes.push(format!("SKIPPED {}: {reason}.", kind.name(quick))),
        }
    }
    for note in &notes {
        eprintln!("hub: {note}");
    }
    (cases, notes)
}

pub fn sample(request: &Request) -> Result<Sample> {
    let mut kinds = Kind::all(request.quick);
    match kinds.find(|kind| kind.name(request.quick) == request.case) {
        Some(Kind::Sockets(row)) => fan_out::sample(request, row),
        Some(Kind::Stalled(percentile)) => stalled::sample(request, percentile),
        Some(Kind::Memory) => memory::sample(request),
        Some(Kind::Inside(inside)) => inside.sample(request),
        Some(Kind::Logs(logs)) => logs.sample(request),
        None => Err(format!("no case is named {}", request.case).into()),
    }
}

/// The promised ratios. They have no alarms: each row itself checks that no event is lost.
pub fn targets(report: &Report, quick: bool) -> Vec<Target> {
    Kind::all(quick)
        .flat_map(|kind| targets_of(report, kind, quick))
        .collect()
}

fn targets_of(report: &Report, kind: Kind, quick: bool) -> Vec<Target> {
    let case = kind.name(quick);
    // The work of a contender in the same time, as a multiple of the other's.
    let at_least = |times: f64, contender: &str, other: &str| {
        Some(Target {
            what: format!("{case}: {contender} against {other}"),
            wanted: Wanted::AtLeast(times),
            alarm: None,
            found: report.speedup(&case, contender, other)?,
        })
    };
    // The time of a contender, as a multiple of the other's.
    let at_most = |times: f64, contender: &str, other: &str| {
        Some(Target {
            what: format!("{case}: the time of {contender} against that of {other}"),
            wanted: Wanted::AtMost(times),
            alarm: None,
            found: report.speedup(&case, other, contender)?,
        })
    };
    let bytes = |most: f64, contender: &str| {
        Some(Target {
            what: format!("{case}: {contender}, in bytes"),
            wanted: Wanted::AtMost(most),
            alarm: None,
            found: report.cost(&case, contender)?,
        })
    };
    let nanos = |most: f64, contender: &str| {
        Some(Target {
            what: format!("{case}: {contender}, in ns"),
            wanted: Wanted::AtMost(most),
            alarm: None,
            found: report.cost(&case, contender)?,
        })
    };
    let targets = match kind {
        Kind::Sockets(row) => match row.doing {
            Doing::Bursts => vec![
                at_least(0.70, ON_HYPER, BARE),
                at_least(0.70, SERVE, BARE),
                at_least(0.90, ON_HYPER, TAPE_BODY),
                at_least(0.90, SERVE, TAPE_BODY),
            ],
            Doing::Lockstep => vec![at_least(0.70, ON_HYPER, BARE), at_least(0.70, SERVE, BARE)],
            Doing::Backlog { .. } => vec![
                at_least(3.0, ON_HYPER, AXUM_SSE_ON_HYPER),
                at_least(3.0, SERVE, AXUM_SSE),
            ],
            Doing::Flood { .. } => vec![bytes(5e6, ON_HYPER), bytes(5e6, SERVE)],
            Doing::Latency => vec![at_most(1.3, ON_HYPER, BARE), at_most(1.3, SERVE, BARE)],
        },
        Kind::Stalled(_) => vec![at_most(1.2, STALLED, ALONE)],
        Kind::Memory => vec![bytes(1_024.0, NAMED)],
        Kind::Inside(_) => Vec::new(),
        Kind::Logs(logs) => logs
            .targets(quick)
            .map(|(most, contender)| nanos(most, contender))
            .collect(),
    };
    targets.into_iter().flatten().collect()
}
