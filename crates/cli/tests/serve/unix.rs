//! The server on a Unix socket.

use std::fs;
use std::io::{BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use tidings_testkit::temp_dir::TempDir;

use crate::process::{LIMIT, Server, serve_to_the_end, tidings};
use crate::raw::{Answer, read};

fn start(path: &Path, flags: &[&str]) -> Server {
    let mut command = tidings(&["serve", "--listen", &listen(path)]);
    command.args(flags);
    Server::spawn(command)
}

fn listen(path: &Path) -> String {
    format!("unix:{}", path.display())
}

fn request(path: &Path, head: &str, body: &str) -> Answer {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let length = body.len();
    let request =
        format!("{head} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).unwrap();
    read(&mut BufReader::new(stream))
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn it_serves_its_own_user_and_removes_its_file() {
    let folder = TempDir::new();
    let path = folder.join("events.sock");
    let mut server = start(&path, &[]);
    assert_eq!(server.listening(), listen(&path));
    let curl = format!(
        "--unix-socket {} http://localhost/channels/news",
        path.display()
    );
    assert_eq!(
        server.next_line(),
        format!("publish: curl -d 'hello' {curl}")
    );
    assert_eq!(mode(&path), 0o600);
    assert_eq!(request(&path, "POST /channels/a", "x").status, 201);
    assert_eq!(request(&path, "GET /healthz", "").body, "ok\n");
    server.signal("TERM");
    assert!(server.wait(LIMIT).success());
    assert!(!path.exists());
}

#[test]
fn it_replaces_a_socket_that_a_dead_server_left() {
    let folder = TempDir::new();
    let path = folder.join("events.sock");
    start(&path, &[]).kill();
    assert!(path.exists());
    let server = start(&path, &["--socket-mode", "0660"]);
    assert_eq!(mode(&path), 0o660);
    assert_eq!(request(&path, "GET /healthz", "").status, 200);
    drop(server);
}

#[test]
fn it_leaves_another_server_and_another_file_alone() {
    let folder = TempDir::new();
    let [used, file, missing] = ["used", "file", "missing/used"].map(|name| folder.join(name));
    let _other = UnixListener::bind(&used).unwrap();
    fs::write(&file, "text").unwrap();
    for (path, reason) in [
        (&used, "another program listens there"),
        (&file, "is no socket"),
        (&missing, "directory does not exist"),
    ] {
        let output = serve_to_the_end(&["--listen", &listen(path)]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(
            error.contains(reason) && error.contains(path.to_str().unwrap()),
            "{error}"
        );
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    UnixStream::connect(&used).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "text");
}

#[test]
fn a_server_that_ends_keeps_the_socket_of_its_successor() {
    let folder = TempDir::new();
    let path = folder.join("events.sock");
    let mut old = start(&path, &["--drain", "2s"]);
    let mut publisher = UnixStream::connect(&path).unwrap();
    publisher
        .write_all(b"POST /channels/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhe")
        .unwrap();
    assert_eq!(request(&path, "GET /healthz", "").status, 200);
    old.signal("TERM");
    let begin = Instant::now();
    while UnixStream::connect(&path).is_ok() {
        assert!(begin.elapsed() < LIMIT);
        std::thread::sleep(Duration::from_millis(10));
    }
    let new = start(&path, &[]);
    assert!(old.wait(LIMIT).success());
    assert_eq!(request(&path, "GET /healthz", "").status, 200);
    drop(new);
}
