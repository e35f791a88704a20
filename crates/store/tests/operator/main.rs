//! What the operator of a store does: export, import, check, compact, and back up.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod checking;
mod closing;
mod importing;
mod memory;
mod running;
mod sweeping;

use std::fs;
use std::path::Path;

/// The names of the files in a directory, in order.
fn names(directory: &Path) -> Vec<String> {
    let names = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = names
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
