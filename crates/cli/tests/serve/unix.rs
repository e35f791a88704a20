//! The server on a Unix socket.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use tidings_testkit::temp_dir::TempDir;

use crate::lifecycle::begin_publication;
use crate::process::{Killed, LIMIT, Server, serve_to_the_end, tidings};
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

/// Starts a server, and returns it if it listens, or the only line of its standard error if it ends with 1.
fn try_start(path: &Path) -> Result<Killed, String> {
    let mut command = tidings(&["serve", "--log-level", "error", "--listen", &listen(path)]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = Killed(command.spawn().unwrap());
    let mut line = String::new();
    let mut stdout = BufReader::new(child.0.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    if !line.is_empty() {
        assert_eq!(line, format!("listening on {}\n", listen(path)));
        return Ok(child);
    }
    let mut error = String::new();
    let mut stderr = child.0.stderr.take().unwrap();
    stderr.read_to_string(&mut error).unwrap();
    assert_eq!(child.0.wait().unwrap().code(), Some(1), "{error}");
    Err(error)
}

#[test]
fn of_servers_that_start_at_once_on_a_dead_socket_one_listens() {
    let folder = TempDir::new();
    let path = folder.join("events.sock");
    for _ in 0..10 {
        // Its file is not removed.
        drop(UnixListener::bind(&path).unwrap());
        let starts = [(); 2].map(|()| {
            let path = path.clone();
            thread::spawn(move || try_start(&path))
        });
        let starts = starts.map(|start| start.join().unwrap());
        let (listening, refused): (Vec<_>, Vec<_>) = starts.into_iter().partition(Result::is_ok);
        assert_eq!(listening.len(), 1);
        for refused in refused {
            let error = refused.err().unwrap();
            assert!(error.contains("another program listens there"), "{error}");
        }
        assert_eq!(request(&path, "GET /healthz", "").status, 200);
        drop(listening);
        fs::remove_file(&path).unwrap();
    }
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
    begin_publication(&mut publisher);
    old.signal("TERM");
    let begin = Instant::now();
    while UnixStream::connect(&path).is_ok() {
        assert!(begin.elapsed() < LIMIT);
        thread::sleep(Duration::from_millis(10));
    }
    let new = start(&path, &[]);
    assert!(old.wait(LIMIT).success());
    assert_eq!(request(&path, "GET /healthz", "").status, 200);
    drop(new);
}

#[test]
fn neither_the_server_nor_check_config_accepts_a_path_for_no_socket() {
    let folder = TempDir::new();
    let [file, directory, missing] =
        ["file", "directory", "missing/socket"].map(|name| folder.join(name));
    fs::write(&file, "text").unwrap();
    fs::create_dir(&directory).unwrap();
    let long = folder.join("x".repeat(108));
    // 107 on Linux, 103 on macOS.
    let length = "the path of a Unix socket has at most 10";
    for (path, reason) in [
        (&file, "is no socket"),
        (&directory, "is no socket"),
        (&missing, "does not exist"),
        (&long, length),
    ] {
        for (flags, code) in [(&[][..], 1), (&["--check-config"], 2)] {
            let output = serve_to_the_end(&[flags, &["--listen", &listen(path)]].concat());
            let error = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(code), "{error}");
            assert!(error.contains(reason), "{path:?} {flags:?}: {error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }
    let socket = folder.join("socket");
    let server = start(&socket, &[]);
    // The server itself may run.
    let output = serve_to_the_end(&["--check-config", "--listen", &listen(&socket)]);
    assert!(output.status.success());
    drop(server);
}
