//! A session under fire: what clients, networks and handlers do, over pipes on paused time and over
//! sockets.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod beats;
mod busy;
mod connection;
mod drains;
mod drops;
mod many;
mod readers;
mod scene;
mod schedules;
mod streams;
mod texts;
mod turns;
