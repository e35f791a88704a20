//! `listen` and `contract-service` against scripted servers.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod contract;
mod listen;
mod process;
mod server;

use std::time::Duration;

/// The limit on each wait for something that must happen.
const DEADLINE: Duration = Duration::from_secs(10);

/// The wait for something that must not happen: it would happen at once.
const NEVER: Duration = Duration::from_millis(50);
