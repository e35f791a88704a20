//! A session over a scripted transport, on paused time.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod before_connect;
mod error;
mod lifecycle;
mod reconnection;
mod redirects;
mod request;
mod run;
mod scripted;
mod service;
mod strategy;
mod stream;
mod timeouts;
