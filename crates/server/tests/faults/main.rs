//! Sessions under faults and load, over pipes on paused time and over sockets.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod concurrent_senders;
mod destructors;
mod drain_under_load;
mod event_contents;
mod fairness;
mod handlers;
mod harness;
mod heartbeats;
mod http2_streams;
mod schedules;
mod slow_readers;
