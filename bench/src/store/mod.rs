//! The store's bench: publishing, replay and opening of a log on the disk, in one process, without sockets.
//!
//! The costs are wall time, as the disk takes most of it, and the processes are not pinned.

mod disk;
pub mod folder;
mod load;
mod rate;
mod reopen;
mod replay;
mod stall;

pub use folder::clean;
pub use reopen::{Filling, fill};

use rate::{Doing, EVERY_COMMIT, PLAIN_FILE, Rate};
use replay::{Replay, STORE};
use stall::{FULL_BUFFERED, Stall};

use crate::harness::{Case, Report, Request, Result, Sample, Target, Wanted};

/// The kind of measurement.
#[derive(Clone, Copy)]
enum Kind {
    Rate(Rate),
    Stall(Stall),
    Disk,
    Replay(Replay),
    Reopen,
}

impl Kind {
    fn all() -> impl Iterator<Item = Self> {
        let rates = Rate::all().into_iter().map(Self::Rate);
        rates
            .chain(Stall::ALL.map(Self::Stall))
            .chain([Self::Disk])
            .chain(Replay::ALL.map(Self::Replay))
            .chain([Self::Reopen])
    }

    fn name(self, quick: bool) -> String {
        match self {
            Self::Rate(rate) => rate.name(),
            Self::Stall(stall) => stall.name(),
            Self::Disk => disk::NAME.to_owned(),
            Self::Replay(replay) => replay.name(quick),
            Self::Reopen => reopen::name(quick),
        }
    }

    fn case(self, quick: bool) -> Case {
        let contenders = match self {
            Self::Rate(rate) => rate.contenders(),
            Self::Stall(_) => stall::CONTENDERS.to_vec(),
            Self::Disk => disk::contenders(),
            Self::Replay(replay) => replay.contenders(),
            Self::Reopen => reopen::CONTENDERS.to_vec(),
        };
        Case {
            name: self.name(quick),
            unit: match self {
                Self::Rate(rate) => rate.unit(),
                Self::Disk => "bytes an event",
                Self::Replay(replay) => replay.unit(),
                Self::Stall(_) | Self::Reopen => "ns",
            },
            baseline: contenders[0],
            contenders,
            absent: Vec::new(),
        }
    }
}

pub fn cases(quick: bool) -> Vec<Case> {
    Kind::all().map(|kind| kind.case(quick)).collect()
}

pub fn sample(request: &Request) -> Result<Sample> {
    let mut kinds = Kind::all();
    match kinds.find(|kind| kind.name(request.quick) == request.case) {
        Some(Kind::Rate(rate)) => rate.sample(request),
        Some(Kind::Stall(stall)) => stall.sample(request),
        Some(Kind::Disk) => disk::sample(request),
        Some(Kind::Replay(replay)) => replay.sample(request),
        Some(Kind::Reopen) => reopen::sample(request),
        None => Err(format!("no case is named {}", request.case).into()),
    }
}

/// The promised figures. An alarm is so far off that neither a busy disk nor other work explains it.
pub fn targets(report: &Report, quick: bool) -> Vec<Target> {
    Kind::all()
        .flat_map(|kind| targets_of(report, kind, quick))
        .collect()
}

fn targets_of(report: &Report, kind: Kind, quick: bool) -> Vec<Target> {
    let case = kind.name(quick);
    let most = |nanos: f64, contender: &str| {
        Some(Target {
            what: format!("{case}: {contender}, in ns"),
            wanted: Wanted::AtMost(nanos),
            alarm: Some(Wanted::AtMost(100.0 * nanos)),
            found: report.cost(&case, contender)?,
        })
    };
    let targets = match kind {
        Kind::Rate(rate) if rate.doing == Doing::Growing => {
            vec![
                report
                    .speedup(&case, EVERY_COMMIT, PLAIN_FILE)
                    .map(|found| Target {
                        what: format!("{case}: {EVERY_COMMIT} against {PLAIN_FILE}"),
                        wanted: Wanted::AtLeast(0.25),
                        // A brief sample may be a single sync of a busy disk.
                        alarm: (!quick).then_some(Wanted::AtLeast(0.02)),
                        found,
                    }),
            ]
        }
        Kind::Stall(Stall::Longest) => vec![most(1e7, FULL_BUFFERED)],
        Kind::Replay(Replay::Median) => vec![most(1e5, STORE)],
        Kind::Reopen => vec![most(2e9, reopen::WARM), most(2e9, reopen::COLD)],
        Kind::Rate(_) | Kind::Stall(_) | Kind::Disk | Kind::Replay(_) => Vec::new(),
    };
    targets.into_iter().flatten().collect()
}
