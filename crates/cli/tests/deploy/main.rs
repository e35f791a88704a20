//! The files of `deploy/`: nginx, Caddy and systemd, with a server of `tidings`.

#![cfg(target_os = "linux")]
#![allow(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests of other processes, which share no clock"
)]

mod curl;
#[path = "../support/process.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod process;
mod proxies;
mod proxy;
mod systemd;

use std::path::PathBuf;

/// The content of a file of `deploy/`.
fn deployed(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../deploy");
    std::fs::read_to_string(path.join(name)).unwrap()
}
