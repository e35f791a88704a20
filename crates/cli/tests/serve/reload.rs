//! SIGHUP at a bad moment: before the server is ready, and while a file cannot be read. A FIFO as the file of
//! the keys blocks its reader until the test writes it.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::thread;

use tidings_testkit::temp_dir::TempDir;

use crate::guarded::key_set;
use crate::process::{LIMIT, Server, tidings};
use crate::raw::get;

fn make_fifo(path: &Path) {
    let made = Command::new("mkfifo").arg(path).status().unwrap();
    assert!(made.success());
}

/// Waits until a server reads the FIFO, and returns its other end.
fn writer_of(fifo: &Path) -> fs::File {
    let (sender, opened) = mpsc::channel();
    let fifo = fifo.to_owned();
    thread::spawn(move || sender.send(OpenOptions::new().write(true).open(fifo)));
    let opened = opened.recv_timeout(LIMIT);
    opened.expect("the server does not read the file").unwrap()
}

/// How often the server has the file open.
#[cfg(target_os = "linux")]
fn readers(server: &Server, file: &Path) -> usize {
    let descriptors = fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap();
    let targets = descriptors.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
    targets.filter(|target| target == file).count()
}

fn keys_in(folder: &TempDir) -> PathBuf {
    fs::canonicalize(folder.join("")).unwrap().join("keys.jwk")
}

#[test]
fn a_hangup_while_the_server_starts_is_remembered() {
    let folder = TempDir::new();
    let keys = keys_in(&folder);
    make_fifo(&keys);
    let mut command = tidings(&["serve", "--listen", "127.0.0.1:0", "--token-key"]);
    command.arg(&keys);
    let mut server = Server::begin(command);
    let mut writer = writer_of(&keys);
    server.signal("HUP");
    writer.write_all(key_set(&["a"]).as_bytes()).unwrap();
    drop(writer);
    server.await_address();
    let mut writer = writer_of(&keys);
    writer.write_all(key_set(&["b"]).as_bytes()).unwrap();
    drop(writer);
    server.await_log("the keys of tokens are replaced");
    assert_eq!(get(server.address(), "/healthz").status, 200);
}

#[test]
fn a_reload_that_waits_for_its_file_is_the_only_one_and_delays_no_end() {
    let folder = TempDir::new();
    let keys = keys_in(&folder);
    fs::write(&keys, key_set(&["a"])).unwrap();
    let mut server = Server::start(&["--token-key", keys.to_str().unwrap()]);
    fs::remove_file(&keys).unwrap();
    make_fifo(&keys);
    server.signal("HUP");
    let mut writer = writer_of(&keys);
    server.signal("HUP");
    for _ in 0..20 {
        assert_eq!(get(server.address(), "/healthz").status, 200);
    }
    #[cfg(target_os = "linux")]
    assert_eq!(readers(&server, &keys), 1);
    writer.write_all(b"no key").unwrap();
    drop(writer);
    server.await_log("the keys of tokens stay as they were");
    // The second one follows, and never ends.
    let _writer = writer_of(&keys);
    server.signal("TERM");
    assert!(server.wait(LIMIT).success());
}
