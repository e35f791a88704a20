//! A process that may open no more files.

use std::env;
use std::fs::File;
use std::path::Path;
use std::process::Command;

use tidings_store::{StoreErrorKind, StoreLog};
use tidings_testkit::temp_dir::TempDir;

use crate::create;

const STORE: &str = "TIDINGS_TEST_STORE";

#[test]
fn too_many_open_files_are_no_lack_of_permission() {
    if let Some(path) = env::var_os(STORE) {
        return check_all(Path::new(&path));
    }
    let dir = TempDir::in_memory();
    let path = dir.join("events.db");
    create(&path);
    let name = "descriptors::too_many_open_files_are_no_lack_of_permission";
    let script = "ulimit -n 64; exec \"$0\" \"$@\"";
    let output = Command::new("bash")
        .args(["-c", script])
        .arg(env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(STORE, &path)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 passed"), "{text}");
}

/// Opens the store with each number of descriptors that are left.
fn check_all(path: &Path) {
    let null = || File::open("/dev/null");
    let mut files: Vec<_> = std::iter::from_fn(|| null().ok()).collect();
    for left in 0.. {
        match StoreLog::open(path) {
            Ok(log) => {
                drop(log);
                assert!(left > 4);
                return;
            }
            Err(error) => assert_eq!(error.kind(), &StoreErrorKind::Io, "{left} left: {error:?}"),
        }
        files.pop().unwrap();
    }
}
