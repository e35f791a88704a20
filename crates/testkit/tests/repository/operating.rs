//! docs/operating.md lists every metric of a server, and every warning and error of its log.

use std::collections::BTreeSet;

use crate::paths::matches;
use crate::repo::{self, Tree};

const DOCUMENT: &str = "docs/operating.md";

/// The crates of which `tidings serve` consists.
const CRATES: [&str; 6] = ["axum", "cli", "hub", "hyper-server", "server", "store"];

#[test]
fn the_document_lists_every_metric_and_every_warning() {
    let tree = repo::tree();
    let document = &tree[DOCUMENT];
    let listed = |text: &String| document.contains(&format!("`{text}`"));
    let missing: Vec<_> = metrics(&tree)
        .into_iter()
        .filter(|name| !listed(name))
        .collect();
    assert!(
        missing.is_empty(),
        "{DOCUMENT}: no such metric: {missing:?}"
    );
    let rows = rows(document);
    let messages = messages(&tree);
    let missing: Vec<_> = messages
        .iter()
        .filter(|text| !rows.contains(*text))
        .collect();
    assert!(missing.is_empty(), "{DOCUMENT}: no such line: {missing:#?}");
}

#[test]
fn the_document_lists_nothing_that_is_gone() {
    let tree = repo::tree();
    let sources: String = sources(&tree).collect();
    let gone: Vec<_> = rows(&tree[DOCUMENT])
        .into_iter()
        .filter(|line| !unbroken(&sources).contains(line.as_str()))
        .collect();
    assert!(gone.is_empty(), "{DOCUMENT}: nothing logs this: {gone:#?}");
}

#[test]
fn names_and_messages_are_found() {
    let source = r#"
        counter!("a_total", "reason" => x).increment(1);
        tracing::warn!(%error, path = printable("x"), "a \
            long line");
        gauge!(
            "b_bytes"
        );
        tracing::info!("not this one");
        tracing::error!(x, "{text}");
    "#;
    let tree = [("crates/hub/src/a.rs".to_owned(), source.to_owned())].into();
    assert_eq!(
        metrics(&tree),
        ["a_total", "b_bytes"].map(String::from).into()
    );
    assert_eq!(messages(&tree), ["a long line".to_owned()].into());
    let table = "| x | y |\n| line | do |\n| --- | --- |\n| a \\| b | c |\n\n| d | e |\n";
    assert_eq!(rows(table), ["a \\| b".to_owned()].into());
}

fn sources(tree: &Tree) -> impl Iterator<Item = &str> {
    let is_ours = |path: &str| {
        CRATES
            .iter()
            .any(|name| matches(&format!("crates/{name}/src/*"), path))
    };
    let files = tree
        .iter()
        .filter(move |(path, _)| path.ends_with(".rs") && is_ours(path));
    files.map(|(_, text)| text.as_str())
}

/// The names of all metrics.
fn metrics(tree: &Tree) -> BTreeSet<String> {
    let calls = sources(tree).flat_map(|text| {
        ["counter!(", "gauge!(", "histogram!("]
            .into_iter()
            .flat_map(move |call| text.split(call).skip(1))
    });
    let names = calls.filter_map(|rest| rest.trim_start().strip_prefix('"'));
    names
        .filter_map(|rest| Some(rest.split_once('"')?.0.to_owned()))
        .collect()
}

/// The texts of all warnings and errors, except those that are put together.
fn messages(tree: &Tree) -> BTreeSet<String> {
    let calls = sources(tree).flat_map(|text| {
        ["tracing::warn!(", "tracing::error!("]
            .into_iter()
            .flat_map(move |call| text.split(call).skip(1))
    });
    let texts = calls.filter_map(last_text);
    texts.filter(|text| !text.contains('{')).collect()
}

/// The last text among the arguments that this begins with.
fn last_text(arguments: &str) -> Option<String> {
    let (mut depth, mut begin, mut last) = (0, None, None);
    let mut bytes = arguments.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match (byte, begin) {
            (b'\\', Some(_)) => drop(bytes.next()),
            (b'"', None) => begin = Some(at + 1),
            (b'"', Some(from)) => (begin, last) = (None, Some(&arguments[from..at])),
            (b'(', None) => depth += 1,
            (b')', None) if depth == 0 => return last.map(unbroken),
            (b')', None) => depth -= 1,
            _ => {}
        }
    }
    None
}

/// The text without the breaks of its lines.
fn unbroken(text: &str) -> String {
    let mut lines = text.split("\\\n");
    let first = lines.next().unwrap_or_default().to_owned();
    lines.fold(first, |text, line| text + line.trim_start())
}

/// The first column of the table of the log.
fn rows(document: &str) -> BTreeSet<String> {
    let table = document.split("| line | do |\n").nth(1).unwrap_or_default();
    let rows = table
        .lines()
        .skip(1)
        .take_while(|line| line.starts_with('|'));
    rows.filter_map(|row| Some(row.strip_prefix("| ")?.split_once(" | ")?.0.to_owned()))
        .collect()
}
