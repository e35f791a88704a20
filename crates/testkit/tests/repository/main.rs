//! Rules for the repository as a whole.

#![expect(clippy::panic, reason = "a test reports a mistake by a panic")]

mod arrows;
mod code_map;
mod docs;
mod features;
mod files;
mod language;
mod markdown;
mod operating;
mod paths;
mod repo;
mod wake_ups;
