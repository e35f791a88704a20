//! Property tests from a printed seed: `TIDINGS_TEST_SEED` and `TIDINGS_TEST_STEPS`.

use std::env;
use std::fmt::Display;
use std::hash::{BuildHasher, RandomState};
use std::str::FromStr;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngSeed, TestRunner};

/// Enough cases to find a mistake of one change, and few enough for a debug build.
const DEFAULT_STEPS: u32 = 2_000;

/// Runs a property over the values of a strategy, and shrinks a value for which it fails.
///
/// `TIDINGS_TEST_SEED` replays a run. Default: a new seed for each run. `TIDINGS_TEST_STEPS` is the
/// number of cases. Default: 2,000. Both are printed.
///
/// # Panics
/// If the property does not hold.
pub fn check<S: Strategy>(values: &S, property: impl Fn(S::Value)) {
    check_cases(DEFAULT_STEPS, values, property);
}

/// As [`check`], with another default number of cases.
///
/// # Panics
/// If the property does not hold.
pub fn check_cases<S: Strategy>(cases: u32, values: &S, property: impl Fn(S::Value)) {
    let seed = seed();
    let steps = steps(cases);
    let mut runner = TestRunner::new(Config {
        cases: steps,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        ..Config::default()
    });
    let outcome = runner.run(values, |value| {
        property(value);
        Ok(())
    });
    if let Err(failure) = outcome {
        fail(&failure);
    }
}

/// The seed of this run: `TIDINGS_TEST_SEED`, or a new seed. It is printed.
#[must_use]
pub fn seed() -> u64 {
    let seed = setting("TIDINGS_TEST_SEED").unwrap_or_else(|| RandomState::new().hash_one(0));
    eprintln!("TIDINGS_TEST_SEED={seed}");
    seed
}

/// The number of steps of this run: `TIDINGS_TEST_STEPS`, or `default`. It is printed.
#[must_use]
pub fn steps<N: FromStr + Display>(default: N) -> N {
    let steps = setting("TIDINGS_TEST_STEPS").unwrap_or(default);
    eprintln!("TIDINGS_TEST_STEPS={steps}");
    steps
}

fn setting<T: FromStr>(name: &str) -> Option<T> {
    let text = env::var(name).ok()?;
    let Ok(value) = text.parse() else {
        fail(&format_args!("{name} is not a number: {text}"));
    };
    Some(value)
}

#[allow(clippy::panic, reason = "a failed test is a panic")]
fn fail(reason: &dyn Display) -> ! {
    panic!("{reason}");
}
