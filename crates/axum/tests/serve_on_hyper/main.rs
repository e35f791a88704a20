//! The tests of `serve` once more, with streams that stay on hyper.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]
#![allow(dead_code, reason = "the other suite has more tests")]

#[path = "../serve/app.rs"]
mod app;
#[path = "../serve/connections.rs"]
mod connections;
#[path = "../serve/drain.rs"]
mod drain;
#[path = "../serve/listeners.rs"]
mod listeners;
#[path = "../serve/pipes.rs"]
mod pipes;
#[cfg(unix)]
#[path = "../serve/process.rs"]
mod process;
#[path = "../serve/requests.rs"]
mod requests;

/// A layer removes the sign of a stream, as one that builds a new response may do.
const LEAVES_HYPER: bool = false;
