//! `serve` over TLS: handshakes of good, slow and wrong clients, certificates, ends, limits and HTTP/2.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

#[path = "../serve/app.rs"]
#[allow(dead_code, reason = "shared with the tests of `serve`")]
mod app;
mod certificates;
mod ends;
mod floods;
mod frames;
mod handshakes;
mod limits;
#[path = "../serve/pipes.rs"]
#[allow(dead_code, reason = "shared with the tests of `serve`")]
mod pipes;
mod replace;
mod sessions;
mod trust;

/// Streams leave hyper, as they do on a server.
const LEAVES_HYPER: bool = true;
