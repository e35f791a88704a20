//! The memory of an operator's function, measured in a process of its own.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

use tidings_store::{compact, import};
use tidings_testkit::temp_dir::TempDir;

const STORE: &str = "TIDINGS_TEST_STORE";

const MIB: usize = 1 << 20;

/// The size of the store. The caches of SQLite are far smaller.
const SIZE: usize = 64 * MIB;

#[test]
#[cfg(target_os = "linux")]
fn a_compaction_needs_no_memory_for_the_content_of_the_store() {
    if let Some(path) = env::var_os(STORE) {
        return check_compaction(Path::new(&path));
    }
    let dir = TempDir::in_memory();
    let path = dir.join("events.db");
    let line = format!("{{\"channel\":\"a\",\"data\":\"{}\"}}\n", "x".repeat(MIB));
    import(&path, line.repeat(SIZE / MIB).as_bytes()).unwrap();
    let name = "memory::a_compaction_needs_no_memory_for_the_content_of_the_store";
    let output = Command::new(env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(STORE, &path)
        // SQLite's temporary file may be in memory too, as that of a file system.
        .env("SQLITE_TMPDIR", &*dir)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 passed"), "{text}");
}

fn check_compaction(path: &Path) {
    let compacted = compact(path).unwrap();
    assert!(compacted.after > SIZE as u64);
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.unwrap().trim().trim_end_matches(" kB");
    let peak = peak.parse::<usize>().unwrap() * 1024;
    assert!(peak < SIZE, "{} MiB", peak / MIB);
}
