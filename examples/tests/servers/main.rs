//! Each example server does what it says it does, over bare sockets.

#![cfg(unix)]
#![expect(clippy::panic, reason = "how a test says what is wrong")]
#![expect(
    clippy::disallowed_methods,
    reason = "whole processes run on the machine's clock"
)]

mod answers;
mod chat;
mod client;
mod counter;
mod drain;
mod firehose;
mod llm_tokens;
mod progress;
mod replay;

#[path = "../real_clients/cutter.rs"]
mod cutter;
#[path = "../real_clients/process.rs"]
mod process;
#[path = "../real_clients/server.rs"]
mod server;
#[path = "../real_clients/upstream.rs"]
mod upstream;
