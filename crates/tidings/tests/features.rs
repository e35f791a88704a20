//! The features of the facade: its front page counts the crates that each one needs.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// An update of a dependency may change a count by a few.
const TOLERANCE: usize = 3;

/// How many crates the facade needs with these features.
fn crates(features: &BTreeSet<&str>) -> usize {
    let features: Vec<&str> = features.iter().copied().collect();
    let tree = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--locked",
            "--offline",
            "-p",
            "tidings",
            "--no-default-features",
        ])
        .args(["-e", "normal", "--prefix", "none"])
        .args(["--target", "x86_64-unknown-linux-gnu"])
        .args(["--features", &features.join(",")])
        .output()
        .unwrap();
    let lines = String::from_utf8(tree.stdout).unwrap();
    let names = lines.lines().map(|line| line.trim_end_matches(" (*)"));
    let count = names.collect::<BTreeSet<_>>().len();
    assert!(count > 0, "{}", String::from_utf8_lossy(&tree.stderr));
    count
}

/// The rows of the table: a feature, whether it is a default, and its counts.
fn rows() -> BTreeMap<&'static str, (bool, &'static str)> {
    let table = include_str!("../src/lib.rs").lines();
    let rows = table.filter_map(|line| line.strip_prefix("//! | `"));
    rows.map(|row| {
        let mut cells = row.split(" | ");
        let name = cells.next().unwrap().trim_end_matches('`');
        let is_default = cells.next().unwrap() == "yes";
        let counts = cells.nth(1).unwrap().trim_end_matches(" |");
        (name, (is_default, counts))
    })
    .collect()
}

fn check(what: &str, stated: &str, measured: usize) {
    let stated: usize = stated.parse().unwrap();
    assert!(
        stated.abs_diff(measured) <= TOLERANCE,
        "{what}: the front page states {stated} crates, but there are {measured}"
    );
}

#[test]
fn the_front_page_states_how_many_crates_each_feature_needs() {
    let rows = rows();
    let defaults = rows.iter().filter(|(_, (is_default, _))| *is_default);
    let defaults: BTreeSet<&str> = defaults.map(|(name, _)| *name).collect();
    check("default", "83", crates(&defaults));
    check("none", "9", crates(&BTreeSet::new()));
    for (name, (_, counts)) in rows {
        for count in counts.split(", ") {
            let Some(added) = count.strip_prefix('+') else {
                check(name, count, crates(&BTreeSet::from([name])));
                continue;
            };
            let mut features = defaults.clone();
            features.remove(name);
            let without = crates(&features);
            features.insert(name);
            check(name, added, crates(&features) - without);
        }
    }
}

#[test]
fn the_front_page_lists_the_features_of_the_manifest() {
    let manifest = include_str!("../Cargo.toml");
    let (_, features) = manifest.split_once("\n[features]\n").unwrap();
    let (features, _) = features.split_once("\n[").unwrap();
    let mut lines = features.lines().filter(|line| !line.starts_with('#'));
    let default = lines.next().unwrap();
    let rows = rows();
    let names: BTreeSet<&str> = lines
        .filter_map(|line| Some(line.split_once(" =")?.0))
        .collect();
    assert_eq!(names, rows.keys().copied().collect());
    for (name, (is_default, _)) in rows {
        // `axum` implies `hyper-server`, which implies `server`, and `json` implies `serde`.
        let is_implied = ["serde", "server", "hyper-server"].contains(&name);
        let is_on = default.contains(&format!("\"{name}\"")) || is_implied;
        assert_eq!(is_on, is_default, "{name}");
    }
}
