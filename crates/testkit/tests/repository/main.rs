//! What holds for the repository as a whole.

#![expect(clippy::panic, reason = "how a test says what is wrong")]

mod arrows;
mod code_map;
mod docs;
mod features;
mod files;
mod markdown;
mod paths;
mod repo;
