//! The example servers over bare sockets: answers, pages and shutdown.

#![cfg(unix)]
#![expect(clippy::panic, reason = "a test fails by a panic")]
#![expect(
    clippy::disallowed_methods,
    reason = "the servers run on the machine's clock"
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
mod store;
mod tickets;

#[path = "../real_clients/cutter.rs"]
mod cutter;
#[path = "../real_clients/process.rs"]
mod process;
#[path = "../real_clients/server.rs"]
mod server;
#[path = "../real_clients/upstream.rs"]
mod upstream;
