//! Damaged rows: a question fails, or its answer is right.

use std::sync::Arc;

use fastrand::Rng;
use tidings_hub::{Log, LogErrorKind, Scope, Start};
use tidings_testkit::property;

use super::history::History;
use super::store::{Split, TestStore};
use super::{patterns, questions};
use crate::shared::Shared;

/// Columns that no index contains, and statements that damage one row at random.
const DAMAGE: &[&str] = &[
    "UPDATE entries SET time = time + 1",
    "UPDATE entries SET channel = channel + 1",
    "UPDATE entries SET kind = 1 - kind",
    "UPDATE entries SET kind = 'x'",
    "UPDATE entries SET nth = nth + 1",
    r#"UPDATE entries SET "check" = 'AAAA'"#,
    r#"UPDATE entries SET "check" = NULL"#,
    "UPDATE entries SET sum = sum + 1",
    "UPDATE entries SET body = body || x'00'",
    "UPDATE entries SET body = 7",
    "DELETE FROM entries",
    "UPDATE channels SET known_since = known_since + 1",
    "UPDATE channels SET sum = 1.5",
    "UPDATE places SET nth = nth + 1",
    "UPDATE places SET time = time + 1",
    "UPDATE places SET sum = sum - 1",
    "UPDATE state SET floor_seq = floor_seq + 1",
    "UPDATE state SET indexed = indexed - 1",
    "UPDATE state SET forgotten_through = forgotten_through + 1",
];

#[tokio::test(start_paused = true)]
async fn a_damaged_row_makes_no_wrong_answer() {
    let mut rng = Rng::with_seed(property::seed());
    let mut store = TestStore::new();
    let mut failures = 0;
    for case in 0..property::steps(150) {
        let history = History::random(6, &mut rng).await;
        let split = Split::random(&history, &mut rng);
        let shared = store.write(&history, &split);
        let damage = DAMAGE[case % DAMAGE.len()];
        store.damage(damage, &mut rng);
        failures += compare(&shared, &history, &mut rng, damage).await;
        shared.readers.close();
    }
    assert!(failures > 0, "damage was never found");
}

/// How many questions failed. The others must be right.
async fn compare(shared: &Arc<Shared>, history: &History, rng: &mut Rng, damage: &str) -> usize {
    let names = history.names();
    let last = history.entries.len() as u64;
    let newest = history.place(last).in_epoch(&history.epoch);
    let mut failures = 0;
    for _ in 0..30 {
        let patterns = patterns(&names, rng);
        let scope = Scope::new(&patterns, &newest);
        let after = rng.u64(0..=last);
        let start = match rng.u8(0..4) {
            0 => Start::After(history.place(after)),
            1 => Start::Earliest,
            2 => Start::Last(rng.usize(0..9)),
            _ => Start::Skip { after, to: last },
        };
        let found = questions::locate(shared, start, scope).await;
        let expected = history.memory.locate(start, scope).await;
        failures += judge(found, expected, damage);
        let found = questions::read(shared, after, 100, scope).await;
        let expected = history.memory.read(after, 100, scope).await;
        failures += judge(found, expected, damage);
    }
    failures
}

fn judge<T, E>(found: Result<T, E>, expected: Result<T, E>, damage: &str) -> usize
where
    T: PartialEq + std::fmt::Debug,
    E: Into<tidings_hub::LogError>,
{
    let kind = |error: E| error.into().kind();
    match found.map_err(kind) {
        Err(LogErrorKind::Lost) => 1,
        found => {
            assert_eq!(found, expected.map_err(kind), "{damage}");
            0
        }
    }
}
