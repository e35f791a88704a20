//! A session under fire: what servers and networks do, over pipes on paused time and over sockets.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod drops;
mod faults;
mod floods;
mod redirects;
mod scene;
mod schedules;
mod sockets;
mod statuses;
mod time;
