//! A server that starts while `tidings store` reads its store. The task is stopped half-way: an export by a
//! pipe that nobody reads, a backup by SIGSTOP.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tidings_testkit::temp_dir::TempDir;

use crate::process::{Killed, LIMIT, Server, tidings};
use crate::raw::post;

/// The store has far more bytes than a pipe and than a copy writes between two looks at it.
const ENTRIES: usize = 6_000;
const ENTRY_BYTES: usize = 4_000;

/// A store that a server has used and closed.
fn fill(path: &Path) {
    let data = "x".repeat(ENTRY_BYTES);
    let line = format!("{{\"channel\":\"news\",\"data\":\"{data}\"}}\n");
    tidings::store::import(path, line.repeat(ENTRIES).as_bytes()).unwrap();
    let mut server = start(path);
    server.signal("TERM");
    assert!(server.wait(LIMIT).success());
}

fn start(store: &Path) -> Server {
    Server::start(&["--store", store.to_str().unwrap(), "--retain-bytes", "1GB"])
}

fn begin(task: &str, files: &[&Path]) -> Killed {
    let mut command = tidings(&["store", task]);
    command.args(files).stdout(Stdio::piped());
    Killed(command.spawn().unwrap())
}

fn export(store: &Path) -> String {
    let mut exported = Vec::new();
    tidings::store::export(store, &mut exported).unwrap();
    String::from_utf8(exported).unwrap()
}

/// Waits until the task has succeeded.
fn wait(child: &mut Killed) {
    let start = Instant::now();
    while child.0.try_wait().unwrap().is_none() {
        assert!(start.elapsed() < LIMIT, "the task does not end");
        thread::sleep(Duration::from_millis(5));
    }
    assert!(child.0.wait().unwrap().success());
}

fn signal(child: &Killed, name: &str) {
    let mut kill = Command::new("kill");
    let status = kill.args(["-s", name, &child.0.id().to_string()]).status();
    assert!(status.unwrap().success());
}

/// Stops the backup as soon as it writes. Returns whether that is before its end.
fn is_stopped_half_way(copying: &Killed, copy: &Path) -> bool {
    let unfinished = copy.with_extension("db.unfinished");
    let start = Instant::now();
    while fs::metadata(&unfinished).map_or(0, |file| file.len()) == 0 && !copy.exists() {
        assert!(start.elapsed() < LIMIT, "the backup does not begin");
        thread::sleep(Duration::from_millis(1));
    }
    signal(copying, "STOP");
    !copy.exists()
}

/// Starts a server over the store, which publishes, restarts and publishes again.
fn serve_twice(store: &Path) {
    for (end, data) in [("KILL", "first"), ("TERM", "second")] {
        let mut server = start(store);
        assert_eq!(post(server.address(), "/channels/news", data).status, 201);
        server.signal(end);
        server.wait(LIMIT);
    }
}

#[test]
fn a_server_starts_during_an_export_and_its_events_are_not_part_of_it() {
    let folder = TempDir::new();
    let store = folder.join("events.db");
    fill(&store);
    let before = export(&store);
    let mut exporting = begin("export", &[&store]);
    let mut output = exporting.0.stdout.take().unwrap();
    let mut first = [0];
    output.read_exact(&mut first).unwrap();
    serve_twice(&store);
    let mut exported = String::from_utf8(first.to_vec()).unwrap();
    output.read_to_string(&mut exported).unwrap();
    wait(&mut exporting);
    assert!(exported == before, "{} bytes", exported.len());
    let after = export(&store);
    let added = after.strip_prefix(&before).unwrap();
    assert_eq!(added.lines().count(), 2, "{added}");
}

#[test]
fn a_server_starts_during_a_backup_and_its_events_are_not_part_of_it() {
    let folder = TempDir::new();
    let [store, copy] = ["events.db", "copy.db"].map(|name| folder.join(name));
    fill(&store);
    let before = export(&store);
    let mut copying = loop {
        let copying = begin("backup", &[&store, &copy]);
        if is_stopped_half_way(&copying, &copy) {
            break copying;
        }
        // The test was slower than the backup.
        drop(copying);
        fs::remove_file(&copy).unwrap();
    };
    serve_twice(&store);
    signal(&copying, "CONT");
    wait(&mut copying);
    assert!(tidings::store::check(&copy).unwrap().is_sound());
    assert!(export(&copy) == before);
    assert!(tidings::store::check(&store).unwrap().is_sound());
    let after = export(&store);
    assert_eq!(after.strip_prefix(&before).unwrap().lines().count(), 2);
}

#[test]
fn a_server_waits_for_a_process_that_releases_the_store_soon() {
    let folder = TempDir::new();
    let store = folder.join("events.db");
    let lock = fs::File::create(folder.join("events.db.lock")).unwrap();
    lock.lock().unwrap();
    let mut command = tidings(&["serve", "--listen", "127.0.0.1:0", "--log-level", "debug"]);
    command.arg("--store").arg(&store);
    let mut server = Server::begin(command);
    server.await_log("the server waits for it");
    drop(lock);
    server.await_address();
}
