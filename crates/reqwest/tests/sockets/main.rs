//! Sessions over reqwest against a hyper server, over real sockets.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod compression;
mod errors;
mod headers;
mod http2;
mod redirects;
mod request;
mod server;
mod streams;
mod timeouts;
mod tls;
