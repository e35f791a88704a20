//! Requests with a second request inside, which only a server that misreads the first one would execute.
//!
//! In each case, `{host}` is the server's own, and `{hidden}` is a whole request that publishes to a channel
//! of the case. A proxy in front of the server would have passed it on as a part of the first request.

use std::net::SocketAddr;

use futures_util::future::join_all;
use tidings_testkit::timeout::timeout;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::process::{LIMIT, Server};
use crate::raw::request;
use crate::scenario::run;
use crate::watch::{await_connections, await_sessions};

/// The first lines of each request of the next two lists.
const POST: &str = "POST /channels/first HTTP/1.1\r\nHost: {host}\r\n";

/// The other lines of a head, and what follows it. The answer is 400, and the connection is closed.
const REFUSED: &[&str] = &[
    "Content-Length: 0\r\nContent-Length: {whole}\r\n\r\n{hidden}",
    "Content-Length: {whole}\r\nContent-Length: 0\r\n\r\n{hidden}",
    // A transfer coding in disguise.
    "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{hidden}",
    "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{hidden}",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n{hidden}",
    "Transfer-Encoding: identity\r\nContent-Length: 3\r\n\r\nabc{hidden}",
    "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{hidden}",
    "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n{hidden}",
    "Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n{hidden}",
    "Transfer-Encoding: \u{b}chunked\r\n\r\n0\r\n\r\n{hidden}",
    "Transfer-Encoding: chunked\0\r\n\r\n0\r\n\r\n{hidden}",
    "Transfer-Encoding:\r\n\tchunked\r\n\r\n0\r\n\r\n{hidden}",
    "X: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}",
    "Transfer-Encoding:\r\nContent-Length: 3\r\n\r\nabc{hidden}",
    // Lengths that are no numbers, or that no number can hold.
    "Content-Length: +5\r\n\r\n{hidden}",
    "Content-Length: -5\r\n\r\n{hidden}",
    "Content-Length: 5, 5\r\n\r\n{hidden}",
    "Content-Length: 0x5\r\n\r\n{hidden}",
    "Content-Length: 5 5\r\n\r\n{hidden}",
    "Content-Length: 5.0\r\n\r\n{hidden}",
    "Content-Length:\r\n\r\n{hidden}",
    "Content-Length: 18446744073709551616\r\n\r\n{hidden}",
    "Content-Length : 5\r\n\r\n{hidden}",
    "Content-Length: 5\0\r\n\r\n{hidden}",
    // Chunks.
    "Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n{hidden}",
    "Transfer-Encoding: chunked\r\n\r\n-1\r\n{hidden}",
    "Transfer-Encoding: chunked\r\n\r\n+0\r\n\r\n{hidden}",
    "Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n{hidden}",
    "Transfer-Encoding: chunked\r\n\r\n\r\n{hidden}",
    "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n{hidden}",
    "Transfer-Encoding: chunked\r\n\r\n3\r\nab\r\n0\r\n\r\n{hidden}",
    "Transfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n{hidden}",
    "Transfer-Encoding: chunked\r\n\r\n3;a\nb\r\nabc\r\n0\r\n\r\n{hidden}",
    "Transfer-Encoding: chunked\r\n\r\n3 3\r\nabc\r\n0\r\n\r\n{hidden}",
    // Lines that other servers may end elsewhere.
    "X: y\rContent-Length: {whole}\r\n\r\n{hidden}",
    "X: a\0b\r\nContent-Length: {whole}\r\n\r\n{hidden}",
    "X y: z\r\nContent-Length: {whole}\r\n\r\n{hidden}",
    ": z\r\nContent-Length: {whole}\r\n\r\n{hidden}",
    "X\r\nContent-Length: {whole}\r\n\r\n{hidden}",
    // Other hosts.
    "Host: {host}\r\nContent-Length: {whole}\r\n\r\n{hidden}",
    "Host: evil.example\r\nContent-Length: {whole}\r\n\r\n{hidden}",
];

/// The first request is executed, which is a publication to another channel. The hidden one is its body, or
/// the connection is closed before it.
const EXECUTED: &[&str] = &[
    // Two lengths. A request with both headers is read by its chunks, and is the last of its connection.
    "Content-Length: {whole}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}",
    "Transfer-Encoding: chunked\r\nContent-Length: {whole}\r\n\r\n0\r\n\r\n{hidden}",
    "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}0\r\n\r\n",
    "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n{chunk}0\r\n\r\n",
    // The body is the hidden request.
    "Content-Length: {whole}\r\n\r\n{hidden}",
    "Content-Length: {whole}\r\nContent-Length: {whole}\r\n\r\n{hidden}",
    "Transfer-Encoding: chunked\r\n\r\n{chunk}0\r\n\r\n",
    // An LF ends a line of the head, and a chunk may have an extension, or a space after its size.
    "X: y\nContent-Length: {whole}\r\n\r\n{hidden}",
    "Transfer-Encoding: chunked\r\n\r\n3;x=\"y\"\r\nabc\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked\r\n\r\n3 \r\nabc\r\n0\r\n\r\n",
];

/// Whole requests, with the statuses of all answers until the connection is closed.
const REQUESTS: &[(&[u16], &str)] = &[
    // Lengths that are numbers, and over the limits.
    (
        &[431],
        "POST /channels/first HTTP/1.1\r\nHost: {host}\r\nContent-Length: 18446744073709551615\r\n\r\n{hidden}",
    ),
    (
        &[413],
        "POST /channels/first HTTP/1.1\r\nHost: {host}\r\nContent-Length: 9223372036854775807\r\n\r\n{hidden}",
    ),
    // What follows the last chunk is a trailer, and then the next request.
    (
        &[201, 400],
        "POST /channels/first HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: {hidden}\r\n\r\n",
    ),
    // A body where none is expected.
    (
        &[200],
        "GET /healthz HTTP/1.1\r\nHost: {host}\r\nContent-Length: {whole}\r\n\r\n{hidden}",
    ),
    (
        &[404],
        "DELETE /channels/none HTTP/1.1\r\nHost: {host}\r\nContent-Length: {whole}\r\n\r\n{hidden}",
    ),
    (
        &[200],
        "GET /healthz HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}0\r\n\r\n",
    ),
    (
        &[405],
        "PUT /channels/first HTTP/1.1\r\nHost: {host}\r\nContent-Length: {whole}\r\n\r\n{hidden}",
    ),
    // Targets that name another host.
    (
        &[403],
        "POST http://evil.example/channels/first HTTP/1.1\r\nHost: {host}\r\nContent-Length: {whole}\r\n\r\n{hidden}",
    ),
    (
        &[403],
        "POST http://{host}/channels/first HTTP/1.1\r\nHost: evil.example\r\nContent-Length: {whole}\r\n\r\n{hidden}",
    ),
    (
        &[400],
        "POST /channels/first HTTP/1.1\r\nContent-Length: {whole}\r\n\r\n{hidden}",
    ),
    (
        &[403],
        "POST http://{host}@evil.example/channels/first HTTP/1.1\r\nHost: {host}\r\nContent-Length: {whole}\r\n\r\n{hidden}",
    ),
    // Request lines.
    (
        &[400],
        "POST /channels/first\r\nHost: {host}\r\nContent-Length: {whole}\r\n\r\n{hidden}",
    ),
    (
        &[400],
        "POST /channels/first HTTP/1.1 HTTP/1.1\r\nHost: {host}\r\nContent-Length: {whole}\r\n\r\n{hidden}",
    ),
    (
        &[400],
        "POST /channels/a b HTTP/1.1\r\nHost: {host}\r\nContent-Length: {whole}\r\n\r\n{hidden}",
    ),
    (
        &[400],
        "POST /channels/first HTTP/1.2\r\nHost: {host}\r\nContent-Length: {whole}\r\n\r\n{hidden}",
    ),
    (
        &[400],
        "POST /channels/first HTTP/1.1\rHost: {host}\r\nContent-Length: {whole}\r\n\r\n{hidden}",
    ),
    (
        &[400],
        "POST\0/channels/first HTTP/1.1\r\nHost: {host}\r\nContent-Length: {whole}\r\n\r\n{hidden}",
    ),
    (
        &[400],
        " POST /channels/first HTTP/1.1\r\nHost: {host}\r\nContent-Length: {whole}\r\n\r\n{hidden}",
    ),
    // HTTP/1.0 has no chunks.
    (
        &[400],
        "POST /channels/first HTTP/1.0\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}",
    ),
    (
        &[201],
        "POST /channels/first HTTP/1.0\r\nHost: {host}\r\nContent-Length: 3\r\n\r\nabc{hidden}",
    ),
    // A subscriber's further requests are not executed while it has its stream.
    (
        &[200],
        "GET /channels/none?last=1 HTTP/1.1\r\nHost: {host}\r\nContent-Length: {whole}\r\n\r\n{hidden}",
    ),
];

/// The bytes of a case, whose hidden request publishes to this channel.
fn bytes(server: SocketAddr, case: &str, channel: &str) -> String {
    let host = server.to_string();
    let hidden =
        format!("POST {channel} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 6\r\n\r\nhidden");
    let chunk = format!("{:x}\r\n{hidden}\r\n", hidden.len());
    case.replace("{chunk}", &chunk)
        .replace("{whole}", &hidden.len().to_string())
        .replace("{hidden}", &hidden)
        .replace("{host}", &host)
}

/// Sends these bytes, and returns all that the server sends until it closes the connection.
async fn exchange(server: SocketAddr, bytes: &str) -> String {
    let mut socket = TcpStream::connect(server).await.unwrap();
    // The server may close the connection before it has everything.
    socket.write_all(bytes.as_bytes()).await.ok();
    let mut answers = Vec::new();
    let read = timeout(LIMIT, socket.read_to_end(&mut answers)).await;
    // A reset is an end, too.
    read.expect("the connection is not closed").ok();
    String::from_utf8(answers).unwrap()
}

/// The statuses of these answers.
fn statuses(answers: &str) -> Vec<u16> {
    let starts = answers.split("HTTP/1.").skip(1);
    starts.map(|answer| answer[2..5].parse().unwrap()).collect()
}

/// Whether the server knows the channel.
fn exists(server: SocketAddr, channel: &str) -> bool {
    let state = request(server, "GET", channel, &["Accept: application/json"], "");
    match state.status {
        200 => true,
        404 => false,
        _ => panic!("{state:?}"),
    }
}

#[test]
fn a_request_inside_another_is_never_executed() {
    let posts = |expected: &'static [u16], lines: &[&str]| {
        let cases = lines.iter().map(|text| (expected, format!("{POST}{text}")));
        cases.collect::<Vec<_>>()
    };
    let whole = REQUESTS
        .iter()
        .map(|(expected, text)| (*expected, (*text).to_owned()));
    let mut cases = [posts(&[400], REFUSED), posts(&[201], EXECUTED)].concat();
    cases.extend(whole);
    run(cases.len() as u64, async {
        // The lifetime ends the streams.
        let flags = ["--request-time", "3s", "--max-lifetime", "5s"];
        let server = Server::start(&flags);
        let address = server.address();
        let exchanges = cases
            .iter()
            .enumerate()
            .map(|(number, (expected, case))| async move {
                let channel = format!("/channels/hidden-{number}");
                let answers = exchange(address, &bytes(address, case, &channel)).await;
                let mut wrong = String::new();
                if statuses(&answers) != *expected {
                    wrong = format!("{case:?}: expected {expected:?}, received {answers:?}\n");
                }
                if exists(address, &channel) {
                    wrong += &format!("{case:?}: the hidden request was executed\n");
                }
                wrong
            });
        let wrong = join_all(exchanges).await.concat();
        assert!(wrong.is_empty(), "{wrong}");
        await_sessions(&server, 0).await;
        await_connections(&server, 0).await;
    });
}

/// Without this, the test above would also pass if the hidden requests were wrong.
#[test]
fn the_same_request_after_another_is_executed() {
    run(1, async {
        let server = Server::start(&["--request-time", "1s"]);
        let address = server.address();
        for (number, first) in [
            "Content-Length: 3\r\n\r\nabc{hidden}",
            "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n{hidden}",
        ]
        .into_iter()
        .enumerate()
        {
            let channel = format!("/channels/after-{number}");
            let sent = bytes(address, &format!("{POST}{first}"), &channel);
            let answers = exchange(address, &sent).await;
            assert_eq!(statuses(&answers), [201, 201], "{answers:?}");
            assert!(exists(address, &channel));
        }
    });
}
