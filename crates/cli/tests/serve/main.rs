//! `tidings serve`, as its clients see it: each test has a server of its own, in a process of its own.

#![cfg(unix)]
#![allow(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests of other processes, which share no clock"
)]

mod batch;
mod channels;
mod credentials;
mod end;
mod flags;
#[cfg(target_os = "linux")]
mod full_disk;
mod guarded;
mod lifecycle;
mod limits;
mod maintenance;
mod origin;
mod problems;
#[path = "../support/process.rs"]
mod process;
mod publish;
#[path = "../support/raw.rs"]
mod raw;
mod reload;
mod restart;
mod rights;
#[cfg(target_os = "linux")]
mod slow_disk;
mod stream;
mod subscribe;
mod tickets;
mod tls;
mod tls_clients;
mod tls_keys;
mod token_lives;
mod tokens;
mod unix;
mod unread_log;
