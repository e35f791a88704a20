//! A client over a hub: it receives each event once and in order, or a gap, whatever happens to its
//! connections.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod app;
mod come_back;
mod cut_body;
mod ends;
mod gaps;
mod names;
mod schedules;
mod waiting_log;
