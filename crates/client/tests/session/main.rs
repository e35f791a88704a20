//! A session over a scripted transport, on paused time.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod reconnection;
mod redirects;
mod request;
mod scripted;
mod service;
mod stream;
mod timeouts;
