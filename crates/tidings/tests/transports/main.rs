//! One suite over every transport: direct, reqwest in three ways, and a router in process.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod app;
mod compression;
mod heads;
mod stream;
mod subject;
