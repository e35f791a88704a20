//! No test uses tokio's `timeout`: it polls the future once more when the time is over, so it cannot see a
//! lost wake-up. The `timeout` of the testkit polls a future only when it is woken.

use crate::repo;

/// In two halves, so that this file does not contain it.
const PATH: &str = concat!("tokio::time::time", "out");

#[test]
fn no_test_has_a_timeout_that_cannot_see_a_lost_wake_up() {
    let mut found = Vec::new();
    for (path, text) in repo::tree() {
        let is_test = path.contains("/tests/") || path.starts_with("crates/testkit/");
        // The testkit compares the two.
        let is_compared = path == "crates/testkit/src/timeout.rs";
        if is_test && !is_compared && path.ends_with(".rs") && uses_it(&text) {
            found.push(path);
        }
    }
    assert!(
        found.is_empty(),
        "use `tidings_testkit::timeout::timeout` in\n{}",
        found.join("\n")
    );
}

/// Whether it names the function by its path, or in a list of imports.
fn uses_it(text: &str) -> bool {
    let lists = text.split("use tokio::time::{").skip(1);
    let names = lists.flat_map(|list| list.split('}').take(1).flat_map(|names| names.split(',')));
    text.contains(PATH)
        || names
            .map(str::trim)
            .any(|name| PATH.ends_with(&format!("::{name}")))
}

#[test]
fn each_way_to_use_it_is_found() {
    assert!(uses_it(&format!("{PATH}(limit, future)")));
    assert!(uses_it(concat!(
        "use tokio::time::{\n    sleep,\n    time",
        "out,\n};"
    )));
    assert!(!uses_it("use tokio::time::{sleep, Instant};"));
}
