//! What holds for every file of the repository.

use crate::repo;

/// In two halves, or this file would be found.
const FORBIDDEN: &[&str] = &[concat!("../sha", "red"), concat!("/wor", "k/")];

#[test]
fn no_file_names_the_machine_it_was_written_on() {
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
        "scripts/test is no script: {scripts:?}"
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

/// Not inside of a longer path or address, which may hold the same letters.
fn names(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        !line[..at].ends_with(|before: char| before.is_alphanumeric() || "._-~%".contains(before))
    })
}
