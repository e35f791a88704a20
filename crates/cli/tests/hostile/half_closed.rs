//! Clients that close their sending direction and go on reading.

use std::net::SocketAddr;

use tidings_testkit::timeout::timeout;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::process::{LIMIT, Server};
use crate::publisher::Publisher;
use crate::raw::{get, request};
use crate::scenario::run;
use crate::subscriber::Subscriber;
use crate::watch::{await_connections, await_sessions, metric};

/// Sends these bytes, closes the sending direction, and returns all that the server sends until it closes
/// the other one.
async fn send_and_half_close(server: SocketAddr, bytes: &str) -> String {
    let mut socket = TcpStream::connect(server).await.unwrap();
    socket.write_all(bytes.as_bytes()).await.unwrap();
    socket.shutdown().await.unwrap();
    let mut answer = String::new();
    let read = timeout(LIMIT, socket.read_to_string(&mut answer)).await;
    read.expect("the connection is not closed").unwrap();
    answer
}

#[test]
fn a_subscriber_that_half_closes_has_left() {
    run(1, async {
        let server = Server::start(&[]);
        let address = server.address();
        let mut subscriber = Subscriber::open(address, "/channels/a", None, 0)
            .await
            .unwrap();
        let mut publisher = Publisher::connect(address, "/channels/a").await;
        let published = publisher.publish(1).await;
        assert_eq!(
            timeout(LIMIT, subscriber.next()).await.unwrap().unwrap(),
            published
        );
        let mut socket = subscriber.into_socket();
        socket.shutdown().await.unwrap();
        await_sessions(&server, 0).await;
        publisher.publish(2).await;
        let mut rest = Vec::new();
        timeout(LIMIT, socket.read_to_end(&mut rest))
            .await
            .unwrap()
            .unwrap();
        assert!(rest.is_empty(), "{rest:?}");
    });
}

#[test]
fn a_publication_whose_client_half_closes_is_stored_once_or_not_at_all() {
    run(1, async {
        let server = Server::start(&[]);
        let address = server.address();
        let (mut answered, mut stored) = (0, 0);
        for number in 0..50 {
            let key = format!("Idempotency-Key: \"key-{number}\"");
            let first = format!(
                "POST /channels/a HTTP/1.1\r\nHost: {address}\r\n{key}\r\nContent-Length: 1\r\n\r\nx"
            );
            let answer = send_and_half_close(address, &first).await;
            let is_answered = answer.starts_with("HTTP/1.1 201 ") && answer.ends_with("\"}");
            assert!(is_answered || answer.is_empty(), "{answer:?}");
            let repeat = request(address, "POST", "/channels/a", &[&key], "x");
            match repeat.status {
                200 => stored += 1,
                201 => assert!(!is_answered, "{answer:?} was not true"),
                _ => panic!("{repeat:?}"),
            }
            answered += i32::from(is_answered);
        }
        eprintln!("{answered} of 50 answered, {stored} stored");
        assert_eq!(metric(&server, "tidings_hub_entries_total"), 50);
        await_connections(&server, 0).await;
    });
}

#[test]
fn a_body_whose_client_half_closes_before_its_end_is_not_stored() {
    run(1, async {
        let server = Server::start(&[]);
        let address = server.address();
        for framing in [
            "Content-Length: 1000\r\n\r\nhalf of it",
            "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        ] {
            let sent = format!("POST /channels/a HTTP/1.1\r\nHost: {address}\r\n{framing}");
            let answer = send_and_half_close(address, &sent).await;
            assert!(
                answer.is_empty() || answer.starts_with("HTTP/1.1 400 "),
                "{answer:?}"
            );
        }
        await_connections(&server, 0).await;
        let state = request(
            address,
            "GET",
            "/channels/a",
            &["Accept: application/json"],
            "",
        );
        assert_eq!(state.status, 404, "{state:?}");
        assert_eq!(get(address, "/healthz").status, 200);
    });
}
