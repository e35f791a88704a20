//! Tests of how much other work a commit does beside its appends: what publishers wait for.

use std::time::Duration;

use fastrand::Rng;
use tidings_testkit::property;

use super::sweep::threshold;
use super::tests::{Bench, ROOMY, event};
use super::turn::keep;
use super::{Steps, read};

/// The entries that the log holds. Its sweeps are much larger than a step.
const HELD: u64 = 4_000;
const INDEX_BATCH: usize = 400;

/// The most rows that a commit writes beside its appends: a few, and some for each append. They are about
/// what an append causes: an index row is written and one deleted, an entry is deleted, and a channel is
/// recorded as one without entries, or forgotten.
fn most_rows(appends: u64) -> u64 {
    200 + 10 * appends
}

/// Appends to random channels, and returns how many rows the commit has written.
fn commit(bench: &mut Bench, rng: &mut Rng, appends: u64, is_behind: bool) -> u64 {
    let before = bench.writer.connection.total_changes();
    let done = bench.commit(|commit| {
        for _ in 0..appends {
            let draft = event(&format!("c/{}", rng.u32(..1_000)));
            commit.append(draft)?.unwrap();
        }
        keep(commit, 0, is_behind)
    });
    done.map_err(|broken| broken.failure).unwrap();
    bench.writer.connection.total_changes() - before
}

/// Publishes to a log that is full, in commits of this size.
fn check(appends: u64) {
    let mut rng = Rng::with_seed(property::seed());
    let retention = ROOMY.max_events(Some(HELD)).remembered_channels(50);
    // The rows limit each step, not the time, so the test is the same on each machine.
    let steps = Steps {
        time: Duration::from_secs(3600),
        ..Steps::default()
    };
    let mut bench = Bench::new(retention, steps);
    bench.settings.index_batch = INDEX_BATCH;
    let mut published = 0;
    while published < 4 * HELD {
        let due = threshold(&bench.writer.head, INDEX_BATCH);
        let is_behind = read(&bench.index).current_len() as u64 > 2 * due;
        let written = commit(&mut bench, &mut rng, appends, is_behind);
        // An entry, a channel, the return of a channel, and the state.
        let of_appends = 3 * appends + 1;
        let most = of_appends + most_rows(appends);
        // A small log is swept at once.
        let is_in_steps = published > HELD;
        assert!(
            !is_in_steps || written <= most,
            "{written} rows of {appends} appends"
        );
        published += appends;
    }
    let head = &bench.writer.head;
    assert_eq!(head.held(), HELD);
    let behind = read(&bench.index).current_len().max(INDEX_BATCH) as u64;
    assert!(behind <= 3 * INDEX_BATCH as u64 + appends, "{behind} rows");
    let waste = head.floor() + 1 - head.first_row;
    assert!(
        waste <= 4 * INDEX_BATCH as u64 + 4 * appends,
        "{waste} entries"
    );
}

#[test]
fn a_commit_does_little_more_upkeep_than_its_appends_cause() {
    for appends in [1, 16, 256] {
        check(appends);
    }
}
