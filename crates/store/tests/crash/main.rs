//! Crashes: processes that are killed, and disks that lose power, and the entries that a store holds
//! afterwards.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod child;
mod disk;
mod folder;
mod judge;
mod kills;
mod ledger;
mod load;
mod plain;
mod power;
mod process;
mod recording;
mod step;
mod syncs;
mod trace;
