//! `tidings publish` and `tidings listen` over HTTPS: what they refuse, and how many connections they open.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::process::{Killed, LIMIT, run_to_the_end, tidings};
use crate::tls::{Files, port, succeeded, text};

/// Expects both programs to end by themselves with 1, without another attempt.
fn check_refused(url: &str, expected: &[&str]) {
    for arguments in [&["listen", url][..], &["publish", url, "x"]] {
        let Output { status, stderr, .. } = run_to_the_end(tidings(arguments));
        let error = text(&stderr);
        assert_eq!(status.code(), Some(1), "{arguments:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{arguments:?}: {error}");
        for expected in expected {
            assert!(error.contains(expected), "{arguments:?}: {error}");
        }
        assert!(!error.contains("add_root_certificate"), "{error}");
    }
}

#[test]
fn a_certificate_that_is_not_trusted_ends_a_client_at_once() {
    let files = Files::new();
    let server = files.start(&[]);
    let url = format!("https://localhost:{}/channels/news", port(&server));
    let expected = format!("the certificate of localhost:{} ", port(&server));
    check_refused(&url, &[&expected, "--cacert", "UnknownIssuer"]);
}

#[test]
fn a_server_without_tls_ends_a_client_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || refuse_in_http(stream));
        }
    });
    let url = format!("https://{address}/channels/news");
    let expected = format!("{address} does not speak TLS");
    check_refused(&url, &[&expected, "http"]);
}

/// Answers as a server of HTTP does whose client begins with a handshake.
fn refuse_in_http(mut stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(LIMIT))?;
    stream.read_exact(&mut [0; 5])?;
    stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")?;
    io::copy(&mut stream, &mut io::sink()).map(drop)
}

/// Forwards connections to a server, and keeps all of them. Answers some in plain text.
struct Forwarder {
    address: SocketAddr,
    accepted: Arc<Mutex<Vec<TcpStream>>>,
    /// How many of the next connections are not forwarded.
    refusals: Arc<AtomicUsize>,
}

impl Forwarder {
    fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&accepted);
        let refusals = Arc::new(AtomicUsize::new(0));
        let left = Arc::clone(&refusals);
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                if left.load(Ordering::Relaxed) > 0 {
                    refuse_in_http(near).ok();
                    left.fetch_sub(1, Ordering::Relaxed);
                    continue;
                }
                let far = TcpStream::connect(to).unwrap();
                kept.lock().unwrap().push(near.try_clone().unwrap());
                forward(near.try_clone().unwrap(), far.try_clone().unwrap());
                forward(far, near);
            }
        });
        Self {
            address,
            accepted,
            refusals,
        }
    }

    fn accepted(&self) -> usize {
        self.accepted.lock().unwrap().len()
    }

    /// Closes the connections, as a server does that restarts.
    fn close(&self) {
        for stream in &*self.accepted.lock().unwrap() {
            stream.shutdown(std::net::Shutdown::Both).ok();
        }
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream) {
    thread::spawn(move || {
        io::copy(&mut from, &mut to).ok();
        to.shutdown(std::net::Shutdown::Write).ok();
    });
}

#[test]
fn a_publisher_keeps_its_connection_over_tls_until_the_server_closes_it() {
    let files = Files::new();
    let server = files.start(&[]);
    let forwarder = Forwarder::start(server.address());
    let url = format!(
        "https://localhost:{}/channels/news",
        forwarder.address.port()
    );
    let mut command = tidings(&["publish", "--cacert", &files.path("ca.pem"), &url]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut publisher = Killed(command.spawn().unwrap());
    let mut input = publisher.0.stdin.take().unwrap();
    let (sender, ids) = std::sync::mpsc::channel();
    let output = BufReader::new(publisher.0.stdout.take().unwrap());
    thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            sender.send(line).ok();
        }
    });
    let mut publish = |data: &str| {
        writeln!(input, "{data}").unwrap();
        let id = ids.recv_timeout(LIMIT);
        id.unwrap_or_else(|error| panic!("{data}: {error}; {}", server.log()));
    };
    for data in ["one", "two", "three"] {
        publish(data);
    }
    assert_eq!(forwarder.accepted(), 1);
    forwarder.close();
    for data in ["four", "five"] {
        publish(data);
    }
    assert_eq!(forwarder.accepted(), 2);
    let trusting = ["listen", "--cacert", &files.path("ca.pem"), &url];
    let all = [&trusting[..], &["--from", "earliest", "--count", "5"]].concat();
    let received = succeeded(&run_to_the_end(tidings(&all)));
    for data in ["one", "two", "three", "four", "five"] {
        assert_eq!(received.matches(data).count(), 1, "{received}");
    }
}

#[test]
fn a_listener_that_was_connected_outlives_an_answer_in_plain_text() {
    let files = Files::new();
    let server = files.start(&[]);
    let forwarder = Forwarder::start(server.address());
    let url = |port| format!("https://localhost:{port}/channels/news");
    let publish = |data| {
        let ca = files.path("ca.pem");
        let arguments = ["publish", "--cacert", &ca, &url(port(&server)), data];
        succeeded(&run_to_the_end(tidings(&arguments)));
    };
    publish("one");
    let (ca, url) = (files.path("ca.pem"), url(forwarder.address.port()));
    let start = ["--from", "earliest", "--count", "2"];
    let mut command = tidings(&[&["listen", "--cacert", &ca, &url][..], &start].concat());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut listener = Killed(command.spawn().unwrap());
    let (sender, lines) = std::sync::mpsc::channel();
    let output = BufReader::new(listener.0.stdout.take().unwrap());
    thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            sender.send(line).ok();
        }
    });
    assert!(lines.recv_timeout(LIMIT).unwrap().contains("one"));
    forwarder.refusals.store(1, Ordering::Relaxed);
    forwarder.close();
    publish("two");
    let second = lines.recv_timeout(LIMIT).unwrap();
    assert!(second.contains("two"), "{second}");
    assert_eq!(forwarder.refusals.load(Ordering::Relaxed), 0);
}
