//! The language of documents and comments: the share of sentences that need a second reading, and the
//! width of comments.
//!
//! Such a sentence has a clause without a noun as its subject ("who comes without an id"), or an old
//! spelling of a plain word: *else* for *otherwise*, *is to* for *must*, *but for* for *except*. Good
//! English may contain any of them ("the easiest way is to …"), so a share is held and not a ban.
//! Measured with the same rules, quinn has 0.5 %, axum 0.3 %, rustls 0.4 %, http 0.6 % and jiff 0.9 %.

use std::collections::BTreeMap;

use crate::markdown;
use crate::repo::{self, Tree};

/// The largest share of sentences that may need a second reading, in 1/1000.
const MAX_SHARE: usize = 15;

/// The widest line with a comment, in characters; tables, links and blocks of code may be wider.
const MAX_WIDTH: usize = 110;

/// Shorter pieces of text are headings and labels.
const MIN_SENTENCE: usize = 12;

#[test]
fn sentences_are_plain_english() {
    let tree = repo::tree();
    let mut total = 0;
    let mut unclear: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (path, text) in prose_files(&tree) {
        for sentence in sentences(&prose(path, text)) {
            total += 1;
            if is_unclear(&sentence) {
                unclear.entry(path).or_default().push(sentence);
            }
        }
    }
    let count: usize = unclear.values().map(Vec::len).sum();
    assert!(
        count * 1000 <= MAX_SHARE * total,
        "{count} of {total} sentences need a second reading:\n{}",
        list(&unclear)
    );
}

#[test]
fn comments_are_not_wide() {
    let tree = repo::tree();
    let wide: Vec<String> = tree
        .iter()
        .filter(|(path, _)| path.ends_with(".rs"))
        .flat_map(|(path, text)| wide_comments(path, text))
        .collect();
    assert!(wide.is_empty(), "\n{}", wide.join("\n"));
}

#[test]
fn the_check_sees_what_is_unclear() {
    let check = |sentence: &str, expected: bool| {
        assert_eq!(is_unclear(sentence), expected, "{sentence}");
    };
    check("Who comes without an id hears new events.", true);
    check("It is sent to whoever asked.", true);
    check("The client who sent it, whichever that is, waits.", true);
    check("Ask the client who sent it.", false);
    check("The body says \"who are you?\"", false);
    check("What is sent reads back.", true);
    check("It decides what becomes of the rest.", true);
    check("See what changed.", false);
    check("It waits, or else it fails.", true);
    check("The else branch is empty.", false);
    check("Everything else fails.", true);
    check("A session is to end at this time.", true);
    check("It is not to be sent.", true);
    check("The easiest way is to try.", false);
    check("It is all but for the head.", true);
    check("It is all but done.", false);
}

#[test]
fn sentences_end_at_full_stops_and_blank_lines() {
    let check = |text: &str, expected: &[&str]| {
        assert_eq!(sentences(text), expected, "{text:?}");
    };
    check(
        "The first one.\nThe second\none!",
        &["The first one.", "The second one!"],
    );
    check(
        "A heading here\n\nA whole sentence.",
        &["A heading here", "A whole sentence."],
    );
    check(
        "Version 0.1.0 of it is here.",
        &["Version 0.1.0 of it is here."],
    );
    check("Too short.", &[]);
    check("A `who is it` is `code`, only.", &["A X is X, only."]);
}

#[test]
fn comments_are_prose_and_code_is_not() {
    let source =
        "//! One.\n//! ```\n//! code\n//! ```\nlet x = 1; // Not a line of its own.\n    // Two.\n";
    assert_eq!(prose("a.rs", source), "One.\nTwo.");
    assert_eq!(
        prose("a.md", "One.\n```sh\ncode\n```\nTwo.\n"),
        "One.\nTwo."
    );
}

#[test]
fn tables_links_and_code_may_be_wide() {
    let long = "x".repeat(MAX_WIDTH);
    let wide = |line: &str| wide_comments("a.rs", line).len();
    assert_eq!(wide(&format!("// {long}")), 1);
    assert_eq!(wide(&format!("/// | {long} |")), 0);
    assert_eq!(wide(&format!("/// [here](https://{long})")), 0);
    assert_eq!(wide(&format!("/// <https://{long}>")), 0);
    assert_eq!(wide(&format!("/// ```text\n/// {long}\n/// ```")), 0);
    assert_eq!(wide(&format!("/// ```\n/// a\n/// ```\n/// {long}")), 1);
    assert_eq!(wide(&long), 0, "code is rustfmt's");
}

/// The files whose prose counts: the sample streams were written by others.
fn prose_files(tree: &Tree) -> impl Iterator<Item = (&str, &str)> {
    tree.iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .filter(|(path, _)| path.ends_with(".rs") || path.ends_with(".md"))
        .filter(|(path, _)| !path.starts_with("crates/testkit/streams"))
}

/// A file's comments or paragraphs, without blocks of code.
fn prose(path: &str, text: &str) -> String {
    let text = if path.ends_with(".rs") {
        let comments: Vec<&str> = text.lines().filter_map(comment).collect();
        comments.join("\n")
    } else {
        text.to_owned()
    };
    let lines = markdown::lines(&text).into_iter();
    let prose: Vec<&str> = lines
        .filter(|line| line.block.is_none())
        .map(|line| line.text)
        .collect();
    prose.join("\n")
}

/// The text of a line that is nothing but a comment.
fn comment(line: &str) -> Option<&str> {
    let text = line.trim_start().strip_prefix("//")?;
    let text = text.strip_prefix(['/', '!']).unwrap_or(text);
    Some(text.strip_prefix(' ').unwrap_or(text))
}

fn sentences(prose: &str) -> Vec<String> {
    let mut sentences = vec![String::new()];
    for paragraph in without_code(prose).split("\n\n") {
        for word in paragraph.split_whitespace() {
            let last = sentences.last_mut().expect("there is always one");
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(word);
            if word.ends_with(['.', '!', '?', ':']) {
                sentences.push(String::new());
            }
        }
        sentences.push(String::new());
    }
    sentences.retain(|sentence| sentence.len() >= MIN_SENTENCE);
    sentences
}

/// Names in backticks are no words of the sentence.
fn without_code(text: &str) -> String {
    let mut kept = String::new();
    for (index, part) in text.split('`').enumerate() {
        kept.push_str(if index % 2 == 0 { part } else { "X" });
    }
    kept
}

fn is_unclear(sentence: &str) -> bool {
    let text = sentence.to_lowercase();
    let words: Vec<&str> = text.split_whitespace().collect();
    (0..words.len()).any(|at| {
        let before = at.checked_sub(1).map(|before| words[before]);
        let after = |steps: usize| words.get(at + steps).map_or("", |word| bare(word));
        match bare(words[at]) {
            "who" | "whoever" | "whom" | "whichever" => {
                begins_clause(before) && !matches!((after(1), after(2)), ("is" | "are", "you"))
            }
            "what" | "whatever" => BEGINNINGS_AFTER_WHAT.contains(&after(1)),
            "else" => !matches!(after(1), "branch" | "if" | "where"),
            "is" | "are" | "was" | "were" => {
                let to = if after(1) == "not" { 2 } else { 1 };
                after(to) == "to" && VERBS_AFTER_IS_TO.contains(&after(to + 1))
            }
            "but" => after(1) == "for",
            _ => false,
        }
    })
}

/// Whether the word after this one begins a clause of its own.
fn begins_clause(before: Option<&str>) -> bool {
    before.is_none_or(|word| {
        word.ends_with([',', ';', ':'])
            || matches!(
                bare(word),
                "and" | "or" | "of" | "to" | "by" | "for" | "with"
            )
    })
}

const BEGINNINGS_AFTER_WHAT: &[&str] = &[
    "is", "was", "are", "were", "come", "comes", "came", "become", "becomes", "became", "stand",
    "stands", "stood", "has", "had", "they", "it", "a", "an", "the", "we", "leaves", "went",
];

const VERBS_AFTER_IS_TO: &[&str] = &[
    "be", "have", "do", "go", "come", "hear", "say", "take", "keep", "give", "end", "wait", "run",
    "know", "resume", "read", "send", "write",
];

/// A word without its punctuation and markup.
fn bare(word: &str) -> &str {
    word.trim_matches(|c: char| !c.is_alphanumeric())
}

fn wide_comments(path: &str, text: &str) -> Vec<String> {
    let mut is_code = false;
    let mut wide = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let Some(text) = comment(line) else {
            is_code = false;
            continue;
        };
        is_code ^= text.starts_with("```");
        let is_free =
            is_code || text.starts_with('|') || text.contains("](") || text.contains("://");
        if line.chars().count() > MAX_WIDTH && !is_free {
            wide.push(format!(
                "{path}:{number}: a comment wider than {MAX_WIDTH} characters"
            ));
        }
    }
    wide
}

fn list(unclear: &BTreeMap<&str, Vec<String>>) -> String {
    let lines = unclear
        .iter()
        .flat_map(|(path, sentences)| sentences.iter().map(move |text| format!("{path}: {text}")));
    lines.collect::<Vec<_>>().join("\n")
}
