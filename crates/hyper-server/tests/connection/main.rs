//! Connections over pipes in memory: which responses leave hyper, and what their clients receive.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod conditions;
mod keep_alive;
mod like_hyper;
mod support;
mod wire;
mod writes;
