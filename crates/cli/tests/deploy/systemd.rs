//! The unit of systemd.

use std::process::Command;

use tidings_testkit::temp_dir::TempDir;

use crate::deployed;
use crate::process::serve_to_the_end;

const PROGRAM: &str = "/usr/local/bin/tidings";

fn unit() -> String {
    deployed("tidings.service")
}

/// The flags with which the unit starts the server.
fn flags() -> Vec<String> {
    let unit = unit();
    let start = format!("ExecStart={PROGRAM} serve ");
    let line = unit.lines().find_map(|line| line.strip_prefix(&start));
    line.unwrap().split(' ').map(str::to_owned).collect()
}

#[test]
fn the_unit_is_valid() {
    let dir = TempDir::new();
    let file = dir.join("tidings.service");
    // The program must exist.
    let unit = unit().replace(PROGRAM, env!("CARGO_BIN_EXE_tidings"));
    std::fs::write(&file, unit).unwrap();
    let mut verify = Command::new("systemd-analyze");
    let verified = match verify.arg("verify").arg(&file).output() {
        Ok(verified) => verified,
        // Not each system has it.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
        Err(error) => panic!("{error}"),
    };
    let text = String::from_utf8_lossy(&verified.stderr).into_owned();
    assert!(verified.status.success() && text.is_empty(), "{text}");
}

#[test]
fn the_program_knows_the_flags_of_the_unit() {
    let flags = flags();
    let mut flags: Vec<_> = flags.iter().map(String::as_str).collect();
    // The help ends it before it opens anything, but after it has read the other flags.
    flags.push("--help");
    assert!(serve_to_the_end(&flags).status.success());
    flags.pop();
    flags.push("--no-such-flag");
    assert_eq!(serve_to_the_end(&flags).status.code(), Some(2));
    let unit = unit();
    for line in ["KillSignal", "Type"] {
        assert!(
            !unit.contains(line),
            "SIGTERM and `exec` are what the server expects"
        );
    }
}
