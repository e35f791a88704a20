//! The bench of the program: `tidings serve` over HTTP, beside nginx with the module Nchan.
//!
//! The program runs on the measured core, in a process of its own. The load is the process of the sample,
//! on another core. The costs are wall time, with the CPU time of the program beside it; those of a
//! delivery are CPU time.

mod answers;
mod contenders;
mod crowd;
mod event_stream;
mod fan_out;
mod poller;
mod program;
mod publish;
mod publisher;
mod requests;
mod resume;

use answers::Answers;
use contenders::{BY_ID, EARLIEST, IN_MEMORY, IN_PROCESS, NCHAN, ONE, PIPELINED, SIXTEEN, TIDINGS};
use fan_out::FanOut;
use publish::Publishing;

use crate::harness::{Case, Report, Request, Result, Sample, Target, Wanted};
use crate::server::limits;

/// The kind of measurement.
#[derive(Clone, Copy)]
enum Kind {
    Publish(Publishing),
    FanOut(FanOut),
    Resume,
    Answers(Answers),
}

impl Kind {
    fn all() -> impl Iterator<Item = Self> {
        let publish = Publishing::ALL.map(Self::Publish).into_iter();
        publish
            .chain(FanOut::ALL.map(Self::FanOut))
            .chain([Self::Resume])
            .chain(Answers::ALL.map(Self::Answers))
    }

    fn name(self, quick: bool) -> String {
        match self {
            Self::Publish(publishing) => publishing.name(),
            Self::FanOut(fan_out) => fan_out.name(),
            Self::Resume => resume::name(quick),
            Self::Answers(answers) => answers.name(quick),
        }
    }

    fn case(self, quick: bool) -> Case {
        let contenders = match self {
            Self::Publish(Publishing::Stored) => vec![ONE, SIXTEEN],
            Self::Publish(Publishing::AtOnce) => vec![NCHAN, TIDINGS, PIPELINED],
            Self::Publish(_) => vec![NCHAN, TIDINGS],
            Self::FanOut(_) => vec![NCHAN, TIDINGS, IN_PROCESS],
            // Nchan takes no part: of so many messages, it reported most as missed.
            Self::Resume => vec![IN_MEMORY, EARLIEST, BY_ID],
            Self::Answers(_) => vec![TIDINGS],
        };
        Case {
            name: self.name(quick),
            unit: match self {
                Self::Publish(_) | Self::Resume | Self::Answers(Answers::Event) => "ns an event",
                Self::FanOut(_) => "ns a delivery",
                Self::Answers(Answers::Reload) => "ns",
            },
            baseline: contenders[0],
            contenders,
            absent: Vec::new(),
        }
    }

    /// The connections of the load.
    fn connections(self, quick: bool) -> usize {
        match self {
            Self::Publish(_) | Self::Resume => 16,
            Self::FanOut(_) => fan_out::SUBSCRIBERS,
            Self::Answers(_) => answers::readers(quick),
        }
    }
}

/// Fails if the programs that are measured are not there.
pub fn prepare() -> Result<()> {
    program::check_nginx()?;
    program::build()
}

/// The cases, and notes about those that are left out.
pub fn cases(quick: bool) -> (Vec<Case>, Vec<String>) {
    let (mut cases, mut notes) = (Vec::new(), Vec::new());
    for kind in Kind::all() {
        match limits::check(kind.connections(quick)) {
            Ok(()) => cases.push(kind.case(quick)),
            Err(reason) => notes.push(format!("SKIPPED {}: {reason}.", kind.name(quick))),
        }
    }
    for note in &notes {
        eprintln!("serve: {note}");
    }
    (cases, notes)
}

pub fn sample(request: &Request) -> Result<Sample> {
    let mut kinds = Kind::all();
    match kinds.find(|kind| kind.name(request.quick) == request.case) {
        Some(Kind::Publish(publishing)) => publishing.sample(request),
        Some(Kind::FanOut(fan_out)) => fan_out.sample(request),
        Some(Kind::Resume) => resume::sample(request),
        Some(Kind::Answers(answers)) => answers.sample(request),
        None => Err(format!("no case is named {}", request.case).into()),
    }
}

/// The promised figures. They have no alarms: each row itself checks that no event is lost.
pub fn targets(report: &Report, quick: bool) -> Vec<Target> {
    Kind::all()
        .flat_map(|kind| targets_of(report, kind, quick))
        .collect()
}

fn targets_of(report: &Report, kind: Kind, quick: bool) -> Vec<Target> {
    let case = kind.name(quick);
    let rate = |least: f64, contender: &str, other: &str| {
        Some(Target {
            what: format!("{case}: the rate of {contender} against {other}"),
            wanted: Wanted::AtLeast(least),
            alarm: None,
            found: report.speedup(&case, contender, other)?,
        })
    };
    // The events in the same CPU time of the program.
    let per_cpu = |least: f64, contender: &str, other: &str| {
        Some(Target {
            what: format!("{case}: the same by CPU time"),
            wanted: Wanted::AtLeast(least),
            alarm: None,
            found: report.part_speedup(&case, contender, other)?,
        })
    };
    let at_most = |nanos: f64, contender: &str| {
        Some(Target {
            what: format!("{case}, in ns"),
            wanted: Wanted::AtMost(nanos),
            alarm: None,
            found: report.cost(&case, contender)?,
        })
    };
    let targets = match kind {
        Kind::Publish(Publishing::Stored) => vec![rate(10.0, SIXTEEN, ONE)],
        Kind::Publish(_) => vec![rate(0.9, TIDINGS, NCHAN), per_cpu(0.9, TIDINGS, NCHAN)],
        Kind::FanOut(_) => vec![
            report
                .speedup(&case, IN_PROCESS, TIDINGS)
                .map(|found| Target {
                    what: format!("{case}: the cost of {TIDINGS} against {IN_PROCESS}"),
                    wanted: Wanted::AtMost(1.1),
                    alarm: None,
                    found,
                }),
        ],
        Kind::Resume => Vec::new(),
        Kind::Answers(Answers::Reload) => vec![at_most(1e8, TIDINGS)],
        // Each answer has five events a second; the last batch may be late.
        Kind::Answers(Answers::Event) if quick => Vec::new(),
        Kind::Answers(Answers::Event) => vec![at_most(1.02 * 2e4, TIDINGS)],
    };
    targets.into_iter().flatten().collect()
}
