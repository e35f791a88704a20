//! `tidings serve` under hostile clients: crowds, half-sent requests, requests in disguise, and readers that
//! stall. The server is a process of its own.
//!
//! The tests take thousands of open files, so they run one at a time, and in a test binary of their own.

#![cfg(target_os = "linux")]
#![allow(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests of another process, which shares no clock"
)]

mod churn;
mod crowd;
mod ended_channels;
mod half_closed;
mod http2;
mod names;
#[allow(dead_code, reason = "shared with tests that use all of it")]
#[path = "../support/process.rs"]
mod process;
mod publisher;
#[allow(dead_code, reason = "shared with tests that use all of it")]
#[path = "../support/raw.rs"]
mod raw;
mod returning_crowd;
mod scenario;
mod smuggling;
mod stalled_readers;
mod subscriber;
mod unfinished;
mod watch;
