//! Faults of servers and networks, over pipes on paused time and over sockets.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod broken_connections;
mod drops;
mod floods;
mod redirects;
mod scene;
mod schedules;
mod sockets;
mod statuses;
mod time;
