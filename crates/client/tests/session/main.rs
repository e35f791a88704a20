//! Sessions over a scripted transport, in paused time.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod acceptance;
mod before_connect;
mod client;
mod error;
mod large_ids;
mod lifecycle;
mod reconnect_now;
mod reconnection;
mod redirects;
mod repeats;
mod request;
mod responses;
mod run;
mod scripted;
mod service;
mod strategy;
mod stream;
mod timeouts;
mod unauthorized;
