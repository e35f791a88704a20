//! The files of the repository.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The text of each file by its path from the root; empty for a file that is not text. A link
/// counts as the file that it points to.
pub(crate) type Tree = BTreeMap<String, String>;

/// Built and measured files, and git's own folder.
const NOT_OURS: &[&str] = &[
    ".git",
    "target",
    "node_modules",
    "bench/results.json",
    "fuzz/artifacts",
];

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub(crate) fn tree() -> Tree {
    let mut tree = Tree::new();
    collect("", &mut tree);
    tree
}

fn collect(folder: &str, tree: &mut Tree) {
    let entries =
        fs::read_dir(root().join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    for entry in entries {
        let entry = entry.expect("a folder's entry");
        let name = entry.file_name().into_string().expect("a name in UTF-8");
        let path = if folder.is_empty() {
            name.clone()
        } else {
            format!("{folder}/{name}")
        };
        if NOT_OURS.contains(&name.as_str()) || NOT_OURS.contains(&path.as_str()) {
            continue;
        }
        let file_type = entry.file_type().expect("a file's type");
        if file_type.is_dir() {
            collect(&path, tree);
        } else if file_type.is_file() {
            tree.insert(path, fs::read_to_string(entry.path()).unwrap_or_default());
        }
    }
}
