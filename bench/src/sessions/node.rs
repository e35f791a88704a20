//! The client that runs in node, and its installation.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::harness::{Request, Result, Sample, pin_to};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("node")
}

/// Installs the packages of the lock file, unless that is done. The error names the missing program
/// or package.
pub fn prepare() -> std::result::Result<(), String> {
    run(Command::new("node").arg("--version"))?;
    let changed = |path: PathBuf| path.metadata().and_then(|file| file.modified()).ok();
    let installed = changed(folder().join("node_modules/.package-lock.json"));
    if installed > changed(folder().join("package-lock.json")) {
        return Ok(());
    }
    run(Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(folder()))
}

fn run(command: &mut Command) -> std::result::Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{name} failed with {}", output.status))
}

/// Like [`Sample::take`], for node, which reports its own CPU time on all its threads.
pub fn sample(request: &Request, url: &str) -> Result<Sample> {
    pin_to(request.core)?;
    let output = Command::new("node")
        .arg(folder().join("client.mjs"))
        .args([url, &request.budget_micros.to_string()])
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err("node failed".into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
