//! Rules for every file of the repository.

use crate::repo;

/// In two halves, so that this file does not contain them.
const FORBIDDEN: &[&str] = &[concat!("../sha", "red"), concat!("/wor", "k/")];

#[test]
fn no_file_names_a_path_of_its_authors_machine() {
    let mut found = Vec::new();
    for (path, text) in repo::tree() {
        for (number, line) in (1..).zip(text.lines()) {
            for word in FORBIDDEN.iter().filter(|word| names(line, word)) {
                found.push(format!("{path}:{number}: {word}"));
            }
        }
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[cfg(unix)]
#[test]
fn scripts_are_executable() {
    use std::os::unix::fs::PermissionsExt;

    let tree = repo::tree();
    let scripts: Vec<&String> = tree
        .keys()
        .filter(|path| tree[*path].starts_with("#!/"))
        .collect();
    assert!(
        scripts.iter().any(|path| *path == "scripts/test"),
        "scripts/test is not a script: {scripts:?}"
    );
    for path in scripts {
        let metadata = repo::root()
            .join(path)
            .metadata()
            .unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(
            metadata.permissions().mode() & 0o111 == 0o111,
            "{path}: not executable"
        );
    }
}

/// Whether the line contains the word, and not as a part of a longer path or address.
fn names(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        !line[..at].ends_with(|before: char| before.is_alphanumeric() || "._-~%".contains(before))
    })
}
