//! A client over a hub: each event once and in order, or a gap, whatever becomes of its connections.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod app;
mod line;
mod lost;
mod schedules;
mod whole;
