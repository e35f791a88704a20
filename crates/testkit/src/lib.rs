//! What the tests of several crates share. Never published, and used from `tests/` only: a crate's
//! inline tests would see another copy of its types.

pub mod decoding;
pub mod fuzz;
pub mod log;
pub mod log_suite;
pub mod oracle;
pub mod property;
pub mod round_trip;
pub mod server;
pub mod streams;
