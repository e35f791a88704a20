//! Every path, link and test that a document (`*.md`) names exists.
//!
//! A path is a word in backticks or in a `sh` block that has a known extension, begins with a
//! folder of the repository's root, or ends with `/`; `*` and `{a,b}` work as in a
//! shell. A test is named `path/to/file.rs::name_of_the_function`.

use crate::markdown::{headings, lines, links};
use crate::paths::{alternatives, folder_of, join, matches};
use crate::repo::{self, Tree};

const MUST_EXIST: &[&str] = &[
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CHANGELOG.md",
];
const EXTENSIONS: &[&str] = &[
    "rs", "md", "toml", "json", "txt", "py", "sh", "html", "yml", "yaml",
];

#[test]
fn everything_that_documents_name_exists() {
    let tree = repo::tree();
    let mut found: Vec<String> = MUST_EXIST
        .iter()
        .filter(|path| !tree.contains_key(**path))
        .map(|path| format!("{path}: no such document"))
        .collect();
    for document in tree.keys().filter(|path| path.ends_with(".md")) {
        found.extend(complaints(&tree, document));
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

/// Each case: a document at the root, and the expected complaints.
#[test]
fn the_checks_find_each_kind_of_mistake() {
    let check = |text: &str, expected: &[&str]| {
        let mut tree = sample();
        tree.insert("DOC.md".into(), text.into());
        assert_eq!(complaints(&tree, "DOC.md"), expected, "{text:?}");
    };
    check(
        "`crates/a/src/line.rs` and `line.rs`, `scripts/`, `crates/*/src/{lib,line}.rs`",
        &[],
    );
    check(
        "`crates/a/src/gone.rs`",
        &["DOC.md:1: `crates/a/src/gone.rs`: no such file"],
    );
    check("one\n`gone.rs`", &["DOC.md:2: `gone.rs`: no such file"]);
    check("`crates/b`", &["DOC.md:1: `crates/b`: no such file"]);
    check("`gone/`", &["DOC.md:1: `gone/`: no such file"]);
    check(
        "`crates/a/src/{lib,gone}.rs`",
        &["DOC.md:1: `crates/a/src/gone.rs`: no such file"],
    );
    check(
        "`scripts/test --quick` `scripts/tets --quick`",
        &["DOC.md:1: `scripts/tets`: no such file"],
    );
    check("`crates/a/src/line.rs::a_line_ends`", &[]);
    check(
        "`crates/a/src/line.rs::gone`",
        &["DOC.md:1: `crates/a/src/line.rs::gone`: no such test"],
    );
    check(
        "`crates/a/src/line.rs::a_line`",
        &["DOC.md:1: `crates/a/src/line.rs::a_line`: no such test"],
    );
    check(
        "`text/event-stream`, `/events`, `https://x.org/a.rs`, `a::b`, `--all`, `target/debug/x`",
        &[],
    );
    check(
        "```sh\nscripts/tets\n```\n",
        &["DOC.md:2: `scripts/tets`: no such file"],
    );
    check(
        "```rust\nscripts/tets `\n```\n`gone.rs`",
        &["DOC.md:4: `gone.rs`: no such file"],
    );
    check(
        "a `span that",
        &["DOC.md:1: a code span must end in its line"],
    );
    check(
        "# A b: `c`!\n[x](#a-b-c) [y](README.md#two-1) [z](crates/a) [w](https://x.org/#q)",
        &[],
    );
    check("[x](#nowhere)", &["DOC.md:1: (#nowhere): no such heading"]);
    check(
        "[x](README.md#nowhere)",
        &["DOC.md:1: (README.md#nowhere): no such heading"],
    );
    check("[x](gone.md)", &["DOC.md:1: (gone.md): no such file"]);
    check(
        "[x](../README.md)",
        &["DOC.md:1: (../README.md): no such file"],
    );
    check("[x]: gone.md", &["DOC.md:1: (gone.md): no such file"]);
    check("`[x](gone.md`", &[]);
}

fn sample() -> Tree {
    let files = [
        (".gitignore", "target/\n"),
        ("README.md", "# Two\n```sh\n# Three\n```\n## Two\n"),
        ("crates/a/src/lib.rs", ""),
        ("crates/a/src/line.rs", "fn a_line_ends() {}"),
        ("scripts/test", ""),
    ];
    files.map(|(path, text)| (path.into(), text.into())).into()
}

/// The names in `document` that do not exist in `tree`, each with its line.
fn complaints(tree: &Tree, document: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in lines(&tree[document]) {
        let wrong = match line.block {
            None => complaints_of_prose(tree, document, line.text),
            Some("sh") => missing_names(tree, document, line.text),
            Some(_) => Vec::new(),
        };
        found.extend(
            wrong
                .into_iter()
                .map(|wrong| format!("{document}:{}: {wrong}", line.number)),
        );
    }
    found
}

fn complaints_of_prose(tree: &Tree, document: &str, line: &str) -> Vec<String> {
    let pieces: Vec<&str> = line.split('`').collect();
    if pieces.len().is_multiple_of(2) {
        return vec!["a code span must end in its line".into()];
    }
    let code = pieces.iter().skip(1).step_by(2);
    let text: String = pieces.iter().copied().step_by(2).collect();
    let names = code.flat_map(|span| missing_names(tree, document, span));
    let links = links(&text)
        .into_iter()
        .filter_map(|target| broken_link(tree, document, target));
    names.chain(links).collect()
}

fn broken_link(tree: &Tree, document: &str, target: &str) -> Option<String> {
    if target.contains(':') {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = if path.is_empty() {
        Some(document.to_owned())
    } else {
        join(folder_of(document), path)
    };
    let Some(path) = path.filter(|path| exists(tree, path)) else {
        return Some(format!("({target}): no such file"));
    };
    let found = anchor.is_empty()
        || tree
            .get(&path)
            .is_some_and(|text| headings(text).iter().any(|heading| heading == anchor));
    (!found).then(|| format!("({target}): no such heading"))
}

/// The paths and tests among the words of a code span or a command that do not exist.
fn missing_names(tree: &Tree, document: &str, code: &str) -> Vec<String> {
    let words = code.split_whitespace().flat_map(alternatives);
    words
        .filter_map(|word| missing_name(tree, document, &word))
        .collect()
}

fn missing_name(tree: &Tree, document: &str, word: &str) -> Option<String> {
    let (path, test) = word.split_once("::").unwrap_or((word, ""));
    if !is_path(tree, path) || is_generated(tree, path) {
        return None;
    }
    let files = resolve(tree, document, path);
    if files.is_empty() {
        return Some(format!("`{word}`: no such file"));
    }
    let function = format!("fn {}(", test.rsplit("::").next().unwrap_or(test));
    let found = test.is_empty()
        || files
            .iter()
            .any(|file| tree.get(*file).is_some_and(|text| text.contains(&function)));
    (!found).then(|| format!("`{word}`: no such test"))
}

fn is_path(tree: &Tree, word: &str) -> bool {
    let plain = word
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "_-./*".contains(c));
    if !plain || word.starts_with(['/', '-']) {
        return false;
    }
    let first = word
        .trim_start_matches("./")
        .split_once('/')
        .map(|(first, _)| format!("{first}/"));
    let in_root_folder =
        first.is_some_and(|first| tree.keys().any(|path| path.starts_with(&first)));
    let extension = word.rsplit_once('.').map(|(_, extension)| extension);
    in_root_folder
        || word.ends_with('/')
        || extension.is_some_and(|extension| EXTENSIONS.contains(&extension))
}

/// Whether git ignores the path: such a file exists only after a build.
fn is_generated(tree: &Tree, path: &str) -> bool {
    let ignored = tree.get(".gitignore").map_or("", String::as_str).lines();
    ignored
        .map(|line| line.trim_start_matches('/'))
        .any(|line| path == line || (line.ends_with('/') && path.starts_with(line)))
}

/// The files that the path names: from the root, beside the document or, for a bare name, anywhere.
fn resolve<'a>(tree: &'a Tree, document: &str, path: &str) -> Vec<&'a str> {
    let path = path.trim_start_matches("./").trim_end_matches('/');
    let beside = join(folder_of(document), path).unwrap_or_default();
    let is_meant = |file: &&str| {
        let bare = !path.contains('/')
            && file
                .rsplit('/')
                .next()
                .is_some_and(|name| matches(path, name));
        bare || matches(path, file) || matches(&beside, file)
    };
    tree.keys().map(String::as_str).filter(is_meant).collect()
}

fn exists(tree: &Tree, path: &str) -> bool {
    let path = path.trim_end_matches('/');
    tree.keys().any(|file| matches(path, file))
}
