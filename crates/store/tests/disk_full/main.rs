//! Disks that are full or fail while a store uses them, and files that somebody changes under it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod changed_files;
mod disk;
mod failing;
mod full;
mod lost_writes;
mod one_failure;
mod user;
