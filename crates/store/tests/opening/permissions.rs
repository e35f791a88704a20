//! Files and directories that this process may not read or write.
//!
//! The superuser may write everything, so the test runs itself again as another user if it is the
//! superuser's.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

use tidings_store::StoreErrorKind;
use tidings_testkit::temp_dir::TempDir;

use crate::{create, refused};

const DIRECTORY: &str = "TIDINGS_TEST_DIRECTORY";

/// A user without rights on every common system.
const NOBODY: u32 = 65_534;

#[test]
fn what_may_not_be_written_is_named() {
    if let Some(directory) = env::var_os(DIRECTORY) {
        return check_all(Path::new(&directory));
    }
    let dir = TempDir::new();
    let prepared = prepare(&dir);
    if fs::metadata(&*dir).unwrap().uid() == 0 {
        // The directory of the build may not be open to others.
        let program = dir.join("program");
        // By another process: a child that another test starts meanwhile would keep the file open for
        // writing.
        let mut copy = Command::new("cp");
        copy.arg(env::current_exe().unwrap()).arg(&program);
        assert!(copy.status().unwrap().success());
        let mut again = Command::new(&program);
        again
            .args([
                "permissions::what_may_not_be_written_is_named",
                "--exact",
                "--nocapture",
            ])
            .env(DIRECTORY, &*dir)
            .env("TMPDIR", &*dir)
            .uid(NOBODY)
            .current_dir("/");
        let output = again.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}");
        assert!(text.contains("1 passed"), "{text}");
    } else {
        check_all(&dir);
    }
    for path in prepared {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// Stores and directories without rights. Returns the directories.
fn prepare(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut directories = Vec::new();
    for name in [
        "closed_file",
        "read_only_file",
        "read_only_directory",
        "closed_directory",
        "empty_directory",
    ] {
        let directory = dir.join(name);
        fs::create_dir(&directory).unwrap();
        let file = directory.join("events.db");
        create(&file);
        fs::remove_file(directory.join("events.db.lock")).unwrap();
        if fs::metadata(dir).unwrap().uid() == 0 {
            chown(&file, Some(NOBODY), None).unwrap();
            chown(&directory, Some(NOBODY), None).unwrap();
        }
        let set = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        match name {
            "closed_file" => set(&file, 0o000),
            "read_only_file" => set(&file, 0o444),
            "read_only_directory" => set(&directory, 0o555),
            "closed_directory" => set(&directory, 0o000),
            _ => {
                fs::remove_file(&file).unwrap();
                set(&directory, 0o555);
            }
        }
        directories.push(directory);
    }
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
    directories
}

fn check_all(dir: &Path) {
    for name in [
        "closed_file",
        "read_only_file",
        "read_only_directory",
        "closed_directory",
        "empty_directory",
    ] {
        let error = refused(&dir.join(name).join("events.db"));
        assert_eq!(
            error.kind(),
            &StoreErrorKind::NotPermitted,
            "{name}: {error:?}"
        );
        let text = error.to_string();
        assert!(text.contains("may not read and write"), "{text}");
    }
}
