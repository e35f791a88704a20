//! Helpers that the tests of several crates share. Never published. Use it from `tests/` only: the
//! inline tests of a crate would see a second copy of the crate's types.

pub mod connection;
pub mod decoding;
pub mod error_chain;
pub mod fuzz;
pub mod http_server;
pub mod hub_model;
pub mod interpose;
pub mod log_model;
pub mod log_suite;
pub mod model_log;
pub mod oracle;
pub mod property;
pub mod round_trip;
pub mod scanning_log;
pub mod server;
pub mod settled_log;
pub mod streams;
pub mod temp_dir;
pub mod timeout;
pub mod traces;
pub mod trimmable_log;
pub mod wakes;
