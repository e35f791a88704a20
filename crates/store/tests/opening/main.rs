//! How a store is opened, and what is refused.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod descriptors;
mod epochs;
mod fixture;
mod permissions;
mod refusals;

use std::path::Path;

use tidings_store::{StoreError, StoreLog, import};

/// Creates a store of three events at this path.
fn create(path: &Path) {
    let lines = "{\"channel\":\"a\",\"data\":\"x\"}\n".repeat(3);
    import(path, lines.as_bytes()).unwrap();
}

/// The error of an open that must fail.
fn refused(path: &Path) -> StoreError {
    StoreLog::open(path).unwrap_err()
}
