//! A server whose disk is full for a while.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

use tidings_testkit::temp_dir::TempDir;

use crate::process::{LIMIT, Server, tidings};
use crate::raw::{get, post};
use crate::stream::{open, texts};

/// A server with a store, whose disk fails as the first letter of the file `control` says while that exists.
pub(crate) fn start(store: &Path, control: &Path) -> Server {
    let mut command = tidings(&["serve", "--listen", "127.0.0.1:0", "--store"]);
    command
        .arg(store)
        .env("LD_PRELOAD", LIBRARY.as_path())
        .env("TIDINGS_DISK", control);
    Server::spawn(command)
}

/// The library of the store's tests, which answers for the disk as the file `TIDINGS_DISK` says.
static LIBRARY: LazyLock<PathBuf> = LazyLock::new(library);

fn library() -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../store/tests/disk_full/disk.c");
    let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tidings-serve-disk.so");
    let unfinished = library.with_extension(process::id().to_string());
    let done = Command::new(env::var_os("CC").unwrap_or_else(|| "cc".into()))
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([&unfinished, &source])
        .output()
        .unwrap();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    fs::rename(&unfinished, &library).unwrap();
    library
}

#[tokio::test]
async fn a_full_disk_is_a_problem_and_readers_lose_nothing() {
    let directory = TempDir::new();
    let control = directory.join("fault");
    let server = start(&directory.join("events.db"), &control);
    let address = server.address();
    let mut session = open(&server, "/channels/news").await;
    assert_eq!(post(address, "/channels/news", "before").status, 201);

    fs::write(&control, "n").unwrap();
    for _ in 0..3 {
        let refused = post(address, "/channels/news", "while full");
        refused.assert_problem(507, "full");
        assert!(refused.header("retry-after").is_some(), "{refused:?}");
    }
    let end = crate::raw::request(address, "DELETE", "/channels/news", &[], "");
    end.assert_problem(507, "full");
    assert_eq!(get(address, "/channels").status, 200);
    let mut late = open(&server, "/channels/news?from=earliest").await;
    assert_eq!(texts(&mut late, 1).await, ["before"]);

    fs::remove_file(&control).unwrap();
    let start = Instant::now();
    while post(address, "/channels/news", "after").status != 201 {
        assert!(start.elapsed() < LIMIT, "the server accepts no events");
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(texts(&mut session, 2).await, ["before", "after"]);
    assert_eq!(texts(&mut late, 1).await, ["after"]);
}
