//! `serve` over real sockets, from the first connection to the end of its drain.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod app;
mod connection_limits;
mod connections;
mod drain;
#[cfg(feature = "http2")]
mod http2;
#[cfg(feature = "http2")]
mod http2_pipes;
mod listeners;
mod pipes;
#[cfg(unix)]
mod process;
mod requests;

/// Streams leave hyper, as they do on a server.
const LEAVES_HYPER: bool = true;
