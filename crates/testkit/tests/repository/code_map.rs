//! ARCHITECTURE.md names every source file of a crate by its path.

use crate::paths::matches;
use crate::repo::{self, Tree};

#[test]
fn the_code_map_names_every_source_file() {
    let tree = repo::tree();
    let map = tree
        .get("ARCHITECTURE.md")
        .expect("ARCHITECTURE.md: no such document");
    let found = unmapped(&tree, map);
    assert!(
        found.is_empty(),
        "ARCHITECTURE.md: not in the code map:\n{}",
        found.join("\n")
    );
}

#[test]
fn the_check_finds_a_missing_file() {
    let files = [
        "crates/a/src/lib.rs",
        "crates/a/src/b/line.rs",
        "crates/a/tests/line.rs",
    ];
    let tree = files.map(|path| (path.into(), String::new())).into();
    let check = |map: &str, expected: &[&str]| assert_eq!(unmapped(&tree, map), expected);
    check("`crates/a/src/lib.rs`, `crates/a/src/b/line.rs`", &[]);
    check(
        "`crates/a/src/lib.rs`, `line.rs`",
        &["crates/a/src/b/line.rs"],
    );
    check("", &["crates/a/src/b/line.rs", "crates/a/src/lib.rs"]);
}

fn unmapped<'a>(tree: &'a Tree, map: &str) -> Vec<&'a str> {
    tree.keys()
        .map(String::as_str)
        .filter(|path| matches("crates/*/src/*", path) && path.ends_with(".rs"))
        .filter(|path| !map.contains(&format!("`{path}`")))
        .collect()
}
