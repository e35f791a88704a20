//! Requests that are wrong whatever their route, and bodies that are too large or too slow.

use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::thread;

use crate::process::Server;
use crate::raw::{Answer, connect, get, post, read, request, send};

#[test]
fn a_wrong_name_is_a_problem_for_each_method() {
    let server = Server::start(&["--max-name", "100"]);
    let long = "n".repeat(10_000);
    for name in [
        "..",
        "a/../b",
        "../a",
        ".",
        "a/.",
        "%2e%2e/a",
        "..%2Fa",
        "a//b",
        "/a",
        "a/",
        "a%2F%2Fb",
        "%00",
        "a%00b",
        "a%0D%0Ab",
        "a%1Bb",
        "%FF",
        "%C3",
        "%",
        "%zz",
        "a%20b",
        "a*",
        "é",
        &"n".repeat(101),
        &long,
    ] {
        let name = name.replace('é', "%C3%A9");
        let target = format!("/channels/{name}");
        for method in ["GET", "POST", "DELETE"] {
            let answer = request(server.address(), method, &target, &[], "x");
            answer.assert_problem(400, "invalid-name");
        }
    }
    let longest = format!("/channels/{}", "n".repeat(100));
    assert_eq!(post(server.address(), &longest, "x").status, 201);
}

#[test]
fn a_path_or_a_method_that_does_not_exist_is_a_problem() {
    let server = Server::start(&[]);
    for target in [
        "/nothing",
        "/channels/",
        "/channelsx",
        "/events/",
        "//channels",
    ] {
        get(server.address(), target).assert_problem(404, "not-found");
    }
    for (method, target, allowed) in [
        ("PUT", "/channels/a", "GET"),
        ("DELETE", "/channels", "POST"),
        ("POST", "/events", "GET"),
        ("FOO", "/channels", "GET"),
    ] {
        let answer = request(server.address(), method, target, &[], "x");
        answer.assert_problem(405, "method-not-allowed");
        assert!(
            answer.header("allow").unwrap().contains(allowed),
            "{answer:?}"
        );
    }
}

/// Sends this head and 200 MB after it, as far as the server takes them, and returns the answer.
fn send_200_megabytes(server: &Server, head: &str, piece: &'static [u8]) -> Answer {
    let mut stream = connect(server.address());
    stream.write_all(head.as_bytes()).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    let sends = thread::spawn(move || {
        let mut left: usize = 200_000_000;
        // The server closes the connection before the end.
        while left > 0 && stream.write_all(piece).is_ok() {
            left = left.saturating_sub(piece.len());
        }
        left
    });
    let answer = read(&mut answers);
    drop(answers);
    assert!(sends.join().unwrap() > 0, "the server has read all of it");
    answer
}

#[test]
fn a_body_of_200_megabytes_is_refused_at_once() {
    let server = Server::start(&[]);
    for line in ["Content-Length: 200000000", "Transfer-Encoding: chunked"] {
        let chunk: &'static [u8] = if line.starts_with("Content") {
            &[b'x'; 64 * 1024]
        } else {
            let chunk = [b"10000\r\n".as_slice(), &[b'x'; 64 * 1024], b"\r\n"].concat();
            chunk.leak()
        };
        for target in ["/channels/a", "/channels"] {
            let head = format!(
                "POST {target} HTTP/1.1\r\nHost: {}\r\n{line}\r\n\
                 Content-Type: application/x-ndjson\r\n\r\n",
                server.address()
            );
            send_200_megabytes(&server, &head, chunk).assert_problem(413, "too-large");
        }
    }
    assert_eq!(post(server.address(), "/channels/a", "x").status, 201);
    #[cfg(target_os = "linux")]
    {
        let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid()));
        let status = status.unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = peak.unwrap().trim().trim_end_matches(" kB");
        let kilobytes: u64 = kilobytes.parse().unwrap();
        assert!(kilobytes < 100_000, "{status}");
    }
}

#[test]
fn a_declared_length_over_the_limit_is_refused_before_the_body() {
    let server = Server::start(&["--max-body", "1000"]);
    let head = |line: &str| {
        format!(
            "POST /channels/a HTTP/1.1\r\nHost: {}\r\n{line}\r\nContent-Length: 1001\r\n\r\n",
            server.address()
        )
    };
    let answer = send(server.address(), head("X: y").as_bytes());
    answer.assert_problem(413, "too-large");
    let answer = send(server.address(), head("Expect: 100-continue").as_bytes());
    answer.assert_problem(413, "too-large");
    assert_eq!(post(server.address(), "/channels/a", "x").status, 201);
}

#[test]
fn a_body_that_stops_or_drips_is_a_timeout() {
    let server = Server::start(&["--request-time", "1s"]);
    let head = format!(
        "POST /channels/a HTTP/1.1\r\nHost: {}\r\nContent-Length: 1000\r\n\r\n",
        server.address()
    );
    let begin = || -> TcpStream {
        let mut stream = connect(server.address());
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(b"abc").unwrap();
        stream
    };
    let stopped = begin();
    let mut dripping = begin();
    let drips = dripping.try_clone().unwrap();
    let drips = thread::spawn(move || {
        let mut drips = drips;
        // Ends when the server closes the connection.
        while drips.write_all(b"x").is_ok() {
            thread::sleep(std::time::Duration::from_millis(50));
        }
    });
    for stream in [&stopped, &dripping] {
        let answer = read(&mut BufReader::new(stream));
        answer.assert_problem(408, "timeout");
    }
    dripping.flush().unwrap();
    drop(dripping);
    drips.join().unwrap();
    assert_eq!(post(server.address(), "/channels/a", "x").status, 201);
}

#[test]
fn a_client_that_waits_for_permission_may_send_its_body() {
    let server = Server::start(&[]);
    let head = format!(
        "POST /channels/a HTTP/1.1\r\nHost: {}\r\nContent-Length: 5\r\n\
         Expect: 100-continue\r\n\r\n",
        server.address()
    );
    let mut stream = connect(server.address());
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    stream.write_all(head.as_bytes()).unwrap();
    assert_eq!(read(&mut answers).status, 100);
    stream.write_all(b"hello").unwrap();
    assert_eq!(read(&mut answers).status, 201);
}

#[test]
fn only_what_is_no_request_of_http_is_answered_without_a_body() {
    let server = Server::start(&["--max-head", "128KiB"]);
    let address = server.address();
    let long = |bytes| "x".repeat(bytes);
    for (head, status) in [
        ("nonsense\r\n\r\n".to_owned(), 400),
        ("GET /healthz HTTP/1.1\r\nno colon\r\n\r\n".to_owned(), 400),
        ("GET /healthz HTTP/9.1\r\n\r\n".to_owned(), 400),
        (format!("GET /{} HTTP/1.1\r\n\r\n", long(70_000)), 414),
        // As much as the server reads. A connection that is closed with unread bytes is reset.
        (
            format!("GET / HTTP/1.1\r\nA: {}", long((128 << 10) - 19)),
            431,
        ),
    ] {
        let mut stream = connect(address);
        let begin = &head[..head.len().min(40)];
        stream.write_all(head.as_bytes()).unwrap();
        let answer = read(&mut BufReader::new(stream));
        assert_eq!(answer.status, status, "{begin}: {answer:?}");
        assert_eq!(answer.header("content-length"), Some("0"), "{begin}");
        assert_eq!(answer.header("connection"), Some("close"), "{begin}");
    }
    assert_eq!(get(address, "/healthz").status, 200);
}
