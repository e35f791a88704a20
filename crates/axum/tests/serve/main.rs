//! A served router, from the first connection to the end of its drain: over real sockets.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod app;
mod connections;
mod drain;
#[cfg(feature = "http2")]
mod http2;
#[cfg(unix)]
mod process;
