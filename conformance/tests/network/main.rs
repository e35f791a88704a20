//! The adapters that speak HTTP, against servers that play a script.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod contract;
mod listen;
mod process;
mod server;

use std::time::Duration;

/// What may take this long has not come.
const DEADLINE: Duration = Duration::from_secs(10);

/// What is to stay away would have come in this time: it would come at once.
const NEVER: Duration = Duration::from_millis(50);
