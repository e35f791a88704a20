//! The server's bench: many sessions that receive the same events, beside other servers.
//!
//! The server is a process of its own on the measured core and reports its own usage. The load is the
//! process of the sample, on another core; it compares each event of each session with the published
//! one.

mod axum_sse;
mod bare;
pub mod contenders;
pub mod control;
pub mod events;
mod hand_written;
pub mod limits;
mod load;
pub mod on_hyper;
mod rows;
pub mod scene;
pub mod serving;
pub mod session_reader;
mod tidings;
pub mod usage;

pub use serving::{Serving, serve};

use std::time::Duration;

use contenders::{ALL, AXUM_SSE, AXUM_SSE_ON_HYPER, BARE, HAND_WRITTEN, ON_AXUM, ON_HYPER, SERVE};
use control::{Server, Setting};
use rows::{Doing, PERIOD, Row};
use scene::{Scene, cost, deliveries};
use tokio::time::Instant;

use crate::harness::{Case, Report, Request, Result, Sample, Target, Wanted, another_core, pin_to};

/// The cases, and notes about those that are left out.
pub fn cases(quick: bool) -> (Vec<Case>, Vec<String>) {
    let (mut cases, mut notes) = (Vec::new(), Vec::new());
    for row in Row::all(quick) {
        let name = row.name();
        match limits::check(row.sessions) {
            Ok(()) => cases.push(Case {
                name,
                unit: row.unit(),
                baseline: HAND_WRITTEN,
                contenders: ALL.to_vec(),
                absent: Vec::new(),
            }),
            Err(reason) => notes.push(format!("SKIPPED {name}: {reason}.")),
        }
    }
    for note in &notes {
        eprintln!("server: {note}");
    }
    (cases, notes)
}

pub fn sample(request: &Request) -> Result<Sample> {
    let row = Row::named(&request.case)?;
    limits::raise()?;
    let setting = Setting {
        command: "broadcast",
        contender: &request.contender,
        heartbeat: (row.doing == Doing::Heartbeats).then_some(PERIOD.as_secs()),
        has_ids: false,
        held_bytes: None,
    };
    let server = Server::start(request.core, setting)?;
    pin_to(another_core(request.core)?)?;
    match row.doing {
        Doing::Waiting => memory(server, row.sessions),
        Doing::Heartbeats => heartbeats(server, row.sessions, Row::duration(request.quick)),
        Doing::Receiving { at_once } => {
            deliveries(server, row.sessions, at_once, row.groups(request.quick))
        }
    }
}

/// The memory of a session that has received an event and waits for the next.
fn memory(mut server: Server, sessions: usize) -> Result<Sample> {
    let before = server.usage()?;
    let mut scene = Scene::open(server, sessions, Duration::ZERO, 1)?;
    scene.publish(1)?;
    let after = scene.server.usage()?;
    Ok(Sample {
        cost: after.rss_bytes.saturating_sub(before.rss_bytes),
        part: None,
        units: sessions as u64,
        tally: None,
    })
}

/// The cost of a heartbeat, as counted by the clients.
fn heartbeats(server: Server, sessions: usize, duration: Duration) -> Result<Sample> {
    // The sessions open over two periods, so each has its own phase.
    let mut scene = Scene::open(server, sessions, 2 * PERIOD, 1)?;
    scene.publish(1)?;
    let (heartbeats_before, before) = (scene.load.heartbeats(), scene.server.usage()?);
    scene.load.hear_until(Instant::now() + duration)?;
    let (after, received) = (scene.server.usage()?, scene.load.heartbeats());
    let beats = received
        .iter()
        .zip(heartbeats_before)
        .map(|(all, before)| all - before);
    let beats: Vec<usize> = beats.collect();
    let periods = usize::try_from(duration.as_secs() / PERIOD.as_secs())?;
    if let Some(wrong) = beats.iter().find(|beats| beats.abs_diff(periods) > 1) {
        return Err(format!("{wrong} heartbeats were received in {periods} periods").into());
    }
    Ok(cost(&before, &after, beats.iter().sum(), None))
}

/// The promised ratios. The alarms are beyond any noise, as in `sessions`.
pub fn targets(report: &Report, quick: bool) -> Vec<Target> {
    let rows = Row::all(quick);
    rows.iter()
        .flat_map(|&row| targets_of(report, row))
        .collect()
}

fn targets_of(report: &Report, row: Row) -> Vec<Target> {
    let case = row.name();
    let of = |contender: &str, other: &str, most: f64, alarm: f64| {
        Some(Target {
            what: format!("{case}: {contender} against {other}"),
            wanted: Wanted::AtMost(most),
            alarm: Some(Wanted::AtMost(alarm)),
            found: report.speedup(&case, other, contender)?,
        })
    };
    let bytes = |contender: &str, most: f64| {
        Some(Target {
            what: format!("{case}: {contender}, in bytes"),
            wanted: Wanted::AtMost(most),
            alarm: Some(Wanted::AtMost(2.0 * most)),
            found: report.cost(&case, contender)?,
        })
    };
    let targets = match row.doing {
        Doing::Waiting => vec![
            bytes(ON_HYPER, 13_000.0),
            bytes(SERVE, 13_000.0),
            bytes(ON_AXUM, 21_000.0),
            of(ON_HYPER, AXUM_SSE_ON_HYPER, 1.0, 2.5),
            of(SERVE, AXUM_SSE, 1.0, 2.5),
            of(ON_AXUM, AXUM_SSE, 1.0, 2.5),
        ],
        Doing::Heartbeats => vec![
            of(ON_HYPER, BARE, 1.5, 5.0),
            of(SERVE, BARE, 1.5, 5.0),
            of(ON_HYPER, AXUM_SSE_ON_HYPER, 1.0, 2.5),
            of(SERVE, AXUM_SSE, 1.0, 2.5),
        ],
        Doing::Receiving { .. } => vec![
            of(ON_HYPER, HAND_WRITTEN, 1.1, 2.5),
            of(SERVE, HAND_WRITTEN, 1.1, 2.5),
            of(ON_HYPER, AXUM_SSE_ON_HYPER, 1.0, 2.5),
            of(SERVE, AXUM_SSE, 1.0, 2.5),
            of(ON_AXUM, AXUM_SSE, 1.0, 2.5),
        ],
    };
    targets.into_iter().flatten().collect()
}
