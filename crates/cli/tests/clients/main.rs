//! `tidings publish`, `listen`, `store`, `key` and `token`, as a user runs them.
#![allow(clippy::unwrap_used, reason = "a test")]

mod kept_connections;
mod listen;
mod program;
mod publish;
mod scripted_server;
mod store;
mod tokens;
