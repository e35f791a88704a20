//! The start of the programs that measure memory: their allocators count.

use std::path::Path;
use std::process::Command;

use crate::harness::Result;

/// Builds and runs `src/bin/<name>.rs`, which prints its tables.
pub fn run(name: &str, arguments: &[&str]) -> Result<()> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let status = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--locked", "--release"])
        .args(["--bin", name, "--manifest-path"])
        .arg(manifest)
        .arg("--")
        .args(arguments)
        .status()?;
    if !status.success() {
        return Err(format!("{name} ended with {status}").into());
    }
    Ok(())
}
