//! `run`: a scenario that has the test process for itself, with enough open files, for a limited time.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tidings_testkit::timeout::timeout;

/// The most time for one scenario, also for a long one by `TIDINGS_TEST_STEPS`.
const SCENARIO_LIMIT: Duration = Duration::from_secs(600);

/// Open files beside the connections: the runtime, the pipes of the server, and the files of the test.
const OTHER_FILES: u64 = 500;

/// Only one scenario runs at a time.
static TURN: Mutex<()> = Mutex::new(());

/// Runs a scenario that holds at most so many connections at one time.
pub(crate) fn run(connections: u64, scenario: impl Future<Output = ()>) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    allow_open_files(connections + OTHER_FILES);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let start = Instant::now();
    let ended = runtime.block_on(async { timeout(SCENARIO_LIMIT, scenario).await });
    ended.expect("the scenario takes too long");
    eprintln!("the scenario took {:.1} s", start.elapsed().as_secs_f64());
}

/// Raises the limit of open files of this process as far as it is needed.
fn allow_open_files(needed: u64) {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return;
    }
    if let Some(maximum) = limit.maximum {
        assert!(
            maximum >= needed,
            "this test needs {needed} open files, and `ulimit -Hn` is {maximum}"
        );
    }
    let raised = Rlimit {
        current: Some(needed),
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).unwrap();
}
