//! A model of hubs: random operations on hubs over one log, compared with an append-only list. Each client
//! must receive every event of its channels once and in order, or a gap that reports the loss.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed case is a failed test"
)]

mod channels;
mod client;
mod endings;
mod gaps;
mod ids;
mod judge;
mod ledger;
mod op;
mod recording_log;
mod shrink;
mod starts;
mod world;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use fastrand::Rng;

use self::op::{Op, Setup};
use self::world::World;
use crate::model_log::LogKind;
use crate::property;

const THREADS: usize = 2;

/// The reason why a case failed.
#[derive(Debug, Clone)]
struct Failed(String);

type Verdict = Result<(), Failed>;

impl Failed {
    fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }

    fn of(self, what: impl fmt::Display) -> Self {
        Self(format!("{what}: {}", self.0))
    }
}

/// Runs random cases, each with a new log of a kind that `choose` draws, until they have taken so many steps
/// together. A case that fails is reduced to a short one.
///
/// `TIDINGS_TEST_SEED` replays a run, and `TIDINGS_TEST_STEPS` sets its number of steps.
///
/// # Panics
/// If a case fails. The text has the seed and the steps of the reduced case.
pub fn check(default_steps: u64, choose: impl Fn(&mut Rng) -> LogKind + Sync) {
    let seed = property::seed();
    let steps = property::steps(default_steps);
    let taken = AtomicU64::new(0);
    let cases = AtomicU64::new(0);
    let work = || {
        while taken.load(Ordering::Relaxed) < steps {
            let case = cases.fetch_add(1, Ordering::Relaxed);
            let length = try_case(seed.wrapping_add(case), &choose);
            taken.fetch_add(length, Ordering::Relaxed);
        }
    };
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(work);
        }
    });
    let (taken, cases) = (taken.into_inner(), cases.into_inner());
    eprintln!("{taken} steps in {cases} cases");
}

/// Runs the case of this seed, and returns its number of steps.
fn try_case(seed: u64, choose: &impl Fn(&mut Rng) -> LogKind) -> u64 {
    let mut rng = Rng::with_seed(seed);
    let setup = Setup::random(seed, &mut rng, choose);
    let count = [30, 200, 1_000, 3_000][rng.usize(..4)];
    let ops = op::ops(&mut rng, count, setup.log.restarts());
    if let Err(failed) = run(&setup, &ops) {
        let (ops, failed) = shrink::shrink(ops, failed, |ops| run(&setup, ops).err());
        let ops: Vec<_> = ops.iter().map(|op| format!("    {op:?},")).collect();
        panic!(
            "TIDINGS_TEST_SEED={seed} TIDINGS_TEST_STEPS=1\n{setup:?}\n{}\n{}",
            ops.join("\n"),
            failed.0
        );
    }
    ops.len() as u64
}

fn run(setup: &Setup, ops: &[Op]) -> Verdict {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async { World::new(setup.clone()).run(ops).await })
    };
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        Err(Failed::new(format!(
            "panicked: {}",
            text.unwrap_or_default()
        )))
    })
}
