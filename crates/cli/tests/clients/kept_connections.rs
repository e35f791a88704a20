//! `tidings publish`: the answers after which it does not use its connection again.

use std::time::Duration;

use tidings_testkit::timeout::timeout;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::program::{Outcome, run};

const LIMIT: Duration = Duration::from_secs(60);
/// Larger than what the sockets of both ends hold.
const LARGE: usize = 8_000_000;

const LENGTH: &str = "HTTP/1.1 201 Created\r\ncontent-type: application/json\r\n\
    content-length: 17\r\n\r\n{\"id\":\"a.1.AAAA\"}";
const CHUNKED: &str = "HTTP/1.1 201 Created\r\ncontent-type: application/json\r\n\
    transfer-encoding: chunked\r\n\r\n11\r\n{\"id\":\"a.1.AAAA\"}\r\n0\r\n\r\n";

/// A listener whose connections receive little ahead.
fn listen() -> (TcpListener, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 * 1024).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(8).unwrap();
    let url = format!("http://{}/channels/news", listener.local_addr().unwrap());
    (listener, url)
}

async fn read_until(stream: &mut TcpStream, end: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end) {
        bytes.push(stream.read_u8().await.unwrap());
    }
    bytes
}

/// Publishes this line, and then `second`. The first connection receives the head, and the first answer; the
/// second connection receives the whole second line.
async fn check_second_on_a_new_connection(line: &str, answer: &str) {
    let (listener, url) = listen();
    let input = format!("{line}\nsecond\n");
    let arguments = ["publish", &*url];
    let serve = async {
        let (mut first, _) = listener.accept().await.unwrap();
        read_until(&mut first, b"\r\n\r\n").await;
        first.write_all(answer.as_bytes()).await.unwrap();
        let (mut other, _) = listener.accept().await.unwrap();
        let head = read_until(&mut other, b"\r\n\r\nsecond").await;
        other.write_all(LENGTH.as_bytes()).await.unwrap();
        (first, head)
    };
    let both = async { tokio::join!(run(&arguments, &input), serve) };
    let (outcome, (_first, head)) = timeout(LIMIT, both).await.unwrap();
    let Outcome {
        code,
        stdout,
        stderr,
    } = outcome;
    // An attempt that fails is reported.
    assert_eq!((code, &*stderr), (Some(0), ""), "{answer}");
    assert_eq!(stdout, "a.1.AAAA\n".repeat(2));
    assert!(head.starts_with(b"POST /channels/news HTTP/1.1\r\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_before_the_end_of_the_request() {
    for answer in [LENGTH, CHUNKED] {
        check_second_on_a_new_connection(&"a".repeat(LARGE), answer).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_more_bytes_follow() {
    for answer in [LENGTH, CHUNKED] {
        check_second_on_a_new_connection("a", &format!("{answer}HTTP/1.1 201")).await;
    }
}
