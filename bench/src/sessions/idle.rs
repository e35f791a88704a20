//! The start of the program that measures idle sessions: its allocator counts.

use std::path::Path;
use std::process::Command;

use crate::harness::Result;

/// Builds and runs `src/bin/idle_sessions.rs`, which prints its table.
pub fn print() -> Result<()> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let status = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--locked", "--release"])
        .args(["--bin", "idle_sessions", "--manifest-path"])
        .arg(manifest)
        .status()?;
    if !status.success() {
        return Err(format!("idle_sessions ended with {status}").into());
    }
    Ok(())
}
