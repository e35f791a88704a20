//! Files that are not opened, and why.

use std::error::Error;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use rusqlite::Connection;
use tidings_store::{StoreErrorKind, check, compact, export, salvage};
use tidings_testkit::temp_dir::TempDir;

use crate::{create, refused};

/// Requires that each function refuses the file as `open` does, with a text that has these parts.
fn check_refusal(path: &Path, kind: &StoreErrorKind, parts: &[&str]) {
    let error = refused(path);
    assert_eq!(error.kind(), kind, "{error}");
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(check(path).unwrap_err().kind(), kind);
    assert_eq!(compact(path).unwrap_err().kind(), kind);
    assert_eq!(export(path, Vec::new()).unwrap_err().kind(), kind);
}

fn not_a_store(what: &str) -> StoreErrorKind {
    let what = what.to_owned();
    StoreErrorKind::NotAStore { what }
}

#[test]
fn a_file_that_is_not_a_store_is_refused_and_not_changed() {
    let dir = TempDir::in_memory();
    let check = |content: &[u8], what: &str| {
        let path = dir.join("file");
        fs::write(&path, content).unwrap();
        let parts = [path.to_str().unwrap(), what, "choose another file"];
        check_refusal(&path, &not_a_store(what), &parts);
        let error = salvage(&path, Vec::new()).unwrap_err();
        assert_eq!(error.kind(), &not_a_store(what));
        assert_eq!(fs::read(&path).unwrap(), content);
    };
    check(b"", "it is an empty file");
    let text = "it does not begin like a database of SQLite";
    check(b"{\"channel\":\"a\"}\n", text);
    check(&[0; 10_000], text);
    check(b"SQLite format 2\0", text);
}

#[test]
fn a_directory_is_refused() {
    let dir = TempDir::in_memory();
    let path = dir.join("events");
    fs::create_dir(&path).unwrap();
    check_refusal(
        &path,
        &not_a_store("it is a directory"),
        &["it is a directory"],
    );
    let root = not_a_store("it is a directory");
    assert_eq!(refused(Path::new("/")).kind(), &root);
    // No lock is left beside a directory.
    assert!(!dir.join("events.lock").exists());
}

#[test]
fn a_device_is_refused() {
    let kind = not_a_store("it is not a regular file");
    assert_eq!(refused(Path::new("/dev/null")).kind(), &kind);
}

#[test]
fn a_database_of_another_program_is_refused() {
    let dir = TempDir::in_memory();
    let path = dir.join("other.db");
    let other = Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE songs(name)").unwrap();
    drop(other);
    let kind = not_a_store("it is a database of another program");
    check_refusal(&path, &kind, &["another program"]);
}

#[test]
fn a_newer_format_is_refused_by_its_number() {
    let dir = TempDir::in_memory();
    let path = dir.join("events.db");
    create(&path);
    let newer = Connection::open(&path).unwrap();
    newer.pragma_update(None, "user_version", 2).unwrap();
    drop(newer);
    let kind = StoreErrorKind::NewerFormat { found: 2, known: 1 };
    check_refusal(
        &path,
        &kind,
        &["has format 2", "up to 1", "use a newer version"],
    );
}

#[test]
fn a_missing_directory_is_named() {
    let dir = TempDir::in_memory();
    let path = dir.join("missing/events.db");
    check_refusal(
        &path,
        &StoreErrorKind::NoDirectory,
        &["missing/events.db", "create it"],
    );
    let inside_a_file = dir.join("file");
    fs::write(&inside_a_file, "x").unwrap();
    let error = refused(&inside_a_file.join("events.db"));
    assert!(error.source().is_some(), "{error}");
}

#[test]
fn only_an_open_and_an_import_create_a_store() {
    let dir = TempDir::in_memory();
    let path = dir.join("events.db");
    for kind in [
        check(&path).unwrap_err().kind(),
        compact(&path).unwrap_err().kind(),
        export(&path, Vec::new()).unwrap_err().kind(),
        salvage(&path, Vec::new()).unwrap_err().kind(),
    ] {
        assert_eq!(kind, &StoreErrorKind::Missing);
    }
    assert_eq!(fs::read_dir(&*dir).unwrap().count(), 0);
}

#[test]
fn a_journal_of_another_file_is_refused() {
    for suffix in ["-wal", "-journal"] {
        let dir = TempDir::in_memory();
        let path = dir.join("events.db");
        let journal = dir.join(format!("events.db{suffix}"));
        fs::write(&journal, "commits").unwrap();
        let kind = StoreErrorKind::ForeignJournal {
            journal: fs::canonicalize(&journal).unwrap(),
        };
        let error = refused(&path);
        assert_eq!(error.kind(), &kind);
        assert!(
            error
                .to_string()
                .contains("move it away if you restored a backup")
        );
        assert!(!path.exists());
        if suffix == "-wal" {
            // A new store, an import and a backup have no `-wal` file of their own until they are opened.
            fs::remove_file(&journal).unwrap();
            create(&path);
            fs::write(&journal, "commits").unwrap();
            check_refusal(&path, &kind, &["events.db-wal"]);
            fs::write(&journal, "").unwrap();
            assert!(check(&path).unwrap().is_sound());
        }
    }
}

#[test]
fn a_file_that_is_cut_off_is_damaged() {
    let dir = TempDir::in_memory();
    let path = dir.join("events.db");
    create(&path);
    let bytes = fs::read(&path).unwrap();
    for (length, expected) in [
        (50, "it is cut off in its first page".to_owned()),
        (
            bytes.len() - 1,
            format!("it has {} bytes of {}", bytes.len() - 1, bytes.len()),
        ),
    ] {
        fs::write(&path, &bytes[..length]).unwrap();
        let error = refused(&path);
        let StoreErrorKind::Damaged { what } = error.kind() else {
            panic!("{error}")
        };
        assert!(what.contains(&expected), "{what}");
        assert!(error.to_string().contains("restore a backup, or salvage"));
    }
}

#[test]
fn the_state_and_the_newest_entry_are_verified() {
    let dir = TempDir::in_memory();
    let path = dir.join("events.db");
    for (sql, expected) in [
        (
            "UPDATE state SET epoch = 'other'",
            "the row of the table `state` is not",
        ),
        ("UPDATE state SET epoch = NULL", "NOT NULL"),
        ("UPDATE state SET secret = 7", "Invalid column type"),
        ("DELETE FROM state", "the row of the table `state` is not"),
        (
            "UPDATE entries SET body = x'' WHERE seq = 3",
            "entry 3 is not what was written",
        ),
        (
            "DELETE FROM entries WHERE seq = 3",
            "it ends at entry 2, and had 3",
        ),
        ("DELETE FROM entries", "it ends at entry 0, and had 3"),
        ("DROP TABLE places", "its tables are not those of a store"),
        ("PRAGMA user_version = 0", "it has no format"),
    ] {
        drop(fs::remove_file(&path));
        create(&path);
        let connection = Connection::open(&path).unwrap();
        if connection.execute_batch(sql).is_err() {
            continue;
        }
        drop(connection);
        let error = refused(&path);
        let StoreErrorKind::Damaged { what } = error.kind() else {
            panic!("{sql}: {error}")
        };
        assert!(what.contains(expected), "{sql}: {what}");
    }
}

#[test]
fn two_paths_of_one_file_have_one_lock() {
    let dir = TempDir::in_memory();
    let path = dir.join("events.db");
    let link = dir.join("link.db");
    symlink("events.db", &link).unwrap();
    symlink(&*dir, dir.join("here")).unwrap();
    // Also before the file exists.
    let _lock = lock(&path);
    for other in [
        &path,
        &link,
        &dir.join("here/link.db"),
        &dir.join("././events.db"),
    ] {
        let error = refused(other);
        let holder = Some(std::process::id());
        assert_eq!(error.kind(), &StoreErrorKind::Locked { holder }, "{error}");
        assert!(
            error.to_string().contains("open in this process already"),
            "{error}"
        );
    }
    symlink("loop.db", dir.join("loop.db")).unwrap();
    let error = refused(&dir.join("loop.db"));
    assert_eq!(error.kind(), &StoreErrorKind::Io, "{error}");
}

#[test]
fn another_process_is_named_that_has_the_store_open() {
    let dir = TempDir::in_memory();
    let path = dir.join("events.db");
    create(&path);
    // `flock` runs `sleep` as the holder of the lock.
    let lock = dir.join("events.db.lock");
    let script = "exec 9<>\"$0\"; flock 9; echo $$ >&9; echo locked; exec sleep 600";
    let mut holder = Command::new("bash")
        .args(["-c", script, lock.to_str().unwrap()])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut locked = [0; 6];
    let mut output = holder.stdout.take().unwrap();
    std::io::Read::read_exact(&mut output, &mut locked).unwrap();
    let error = refused(&path);
    let pid = holder.id();
    let kind = StoreErrorKind::Locked { holder: Some(pid) };
    assert_eq!(error.kind(), &kind);
    assert!(
        error
            .to_string()
            .contains(&format!("in use by the process {pid}; stop it"))
    );
    holder.kill().unwrap();
    holder.wait().unwrap();
    // The system has released the lock of the process.
    assert!(check(&path).unwrap().is_sound());
}

/// Holds the lock of a store as another program of this process.
fn lock(path: &Path) -> fs::File {
    use std::io::Write;
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let mut file = fs::File::create(name).unwrap();
    file.lock().unwrap();
    write!(file, "{}", std::process::id()).unwrap();
    file
}
