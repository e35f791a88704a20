//! Every row of `docs/features.md` names a test, and each Ktor name finds our item.

use crate::markdown::lines;
use crate::repo::{self, Tree};

const PAGE: &str = "docs/features.md";

#[test]
fn every_feature_has_a_test_and_its_old_name() {
    let tree = repo::tree();
    let found = complaints(&tree);
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

/// Each case: the rows of the page's one table, and the expected complaints.
#[test]
fn the_check_finds_each_kind_of_mistake() {
    let check = |rows: &str, expected: &[&str]| {
        let page = format!("# Features\n| Ktor | tidings | test |\n| --- | --- | --- |\n{rows}");
        let files = [
            (PAGE, page.as_str()),
            (
                "crates/a/src/lib.rs",
                "#[doc(alias = \"theirs\")]\npub fn ours(",
            ),
            (
                "crates/a/tests/a.rs",
                "#[test]\nfn it_holds() {}\n#[tokio::test]\nasync fn it_waits() {}\nfn help() {}",
            ),
        ];
        let tree = files.map(|(path, text)| (path.into(), text.into())).into();
        assert_eq!(complaints(&tree), expected, "{rows:?}");
    };
    check("| a | b | `crates/a/tests/a.rs::it_waits` |", &[]);
    let test = "`crates/a/tests/a.rs::it_holds`";
    check(&format!("| `theirs` | `ours` | {test} |"), &[]);
    check(
        &format!("| `ours` of a call | the same | `a`, {test} |"),
        &[],
    );
    check(
        &format!("| no name: `a b`, `-5` | the same | {test} |"),
        &[],
    );
    check("", &["docs/features.md: no row"]);
    for none in [
        "",
        "it holds",
        "`crates/a/tests/a.rs`",
        "`crates/a/tests/a.rs::gone`",
        "`crates/a/tests/a.rs::help`",
        "`crates/b/tests/a.rs::it_holds`",
    ] {
        let row = format!("| a | {test} | {none} |");
        check(&row, &["docs/features.md:4: no test in the last cell"]);
    }
    check(
        &format!("| `gone` | `ours` | {test} |"),
        &["docs/features.md:4: `gone`: neither a name nor an alias of ours"],
    );
}

fn complaints(tree: &Tree) -> Vec<String> {
    let page = tree.get(PAGE).map_or("", String::as_str);
    let rows: Vec<_> = lines(page)
        .into_iter()
        .filter(|line| line.text.starts_with('|') && !line.text.starts_with("| ---"))
        .filter(|line| !line.text.starts_with("| Ktor |"))
        .collect();
    if rows.is_empty() {
        return vec![format!("{PAGE}: no row")];
    }
    let mut found = Vec::new();
    for row in rows {
        let mut complain = |text: &str| found.push(format!("{PAGE}:{}: {text}", row.number));
        let cells: Vec<&str> = row.text.trim_matches('|').split('|').collect();
        let (first, last) = (cells[0], cells[cells.len() - 1]);
        if !spans(last).any(|span| is_test(tree, span)) {
            complain("no test in the last cell");
        }
        for name in spans(first).filter(|span| is_name(span) && !is_known(tree, span)) {
            complain(&format!("`{name}`: neither a name nor an alias of ours"));
        }
    }
    found
}

fn spans(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

fn is_test(tree: &Tree, span: &str) -> bool {
    let Some((path, name)) = span.split_once("::") else {
        return false;
    };
    let text = tree.get(path).map_or("", String::as_str);
    let Some((before, _)) = text.split_once(&format!("fn {name}(")) else {
        return false;
    };
    let above = before.trim_end_matches("async ").trim_end().lines();
    let above = above.last().unwrap_or_default().trim();
    above.starts_with("#[test]") || above.starts_with("#[tokio::test")
}

/// Whether the span is the name of an item, and not a value or a piece of the wire format.
fn is_name(span: &str) -> bool {
    span.starts_with(|c: char| c.is_ascii_alphabetic())
        && span
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_.".contains(c))
}

fn is_known(tree: &Tree, name: &str) -> bool {
    let forms = [
        format!("alias = \"{name}\""),
        format!("pub fn {name}("),
        format!("pub fn {name}<"),
        format!("pub const {}:", name.to_ascii_uppercase()),
    ];
    tree.iter()
        .filter(|(path, _)| path.starts_with("crates/") && path.contains("/src/"))
        .any(|(_, text)| forms.iter().any(|form| text.contains(form)))
}
