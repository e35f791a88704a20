//! Heads and bodies that begin and do not end.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tidings_testkit::timeout::timeout;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::process::{LIMIT, Server};
use crate::raw::{get, post};
use crate::scenario::run;
use crate::subscriber::connect;
use crate::watch::{await_connections, await_open_files, await_sessions, metric, open_files};

const HEADS: usize = 200;
const BODIES: usize = 200;

/// Longer than the connections take to open on a busy machine.
const REQUEST_TIME: Duration = Duration::from_secs(8);

/// What the server sends until it closes the connection, and after how long it does.
async fn read_to_the_end(mut socket: TcpStream, start: Instant) -> (String, Duration) {
    let mut answer = String::new();
    let read = timeout(LIMIT, socket.read_to_string(&mut answer)).await;
    read.expect("the connection is not closed").unwrap();
    (answer, start.elapsed())
}

#[test]
fn two_hundred_half_heads_and_two_hundred_half_bodies_end_in_time_and_delay_nobody() {
    run((HEADS + BODIES) as u64, async {
        let server = Server::start(&["--request-time", "8s"]);
        let address = server.address();
        await_sessions(&server, 0).await;
        let files = open_files(&server);
        let start = Instant::now();
        let mut unfinished = Vec::new();
        for number in 0..HEADS + BODIES {
            let mut socket = connect(address, number).await.unwrap();
            let head = format!("POST /channels/a HTTP/1.1\r\nHost: {address}\r\n");
            let part = if number < HEADS {
                head[..20 + number % 30].to_owned()
            } else {
                head + "Content-Length: 1000\r\n\r\nhalf of it"
            };
            socket.write_all(part.as_bytes()).await.unwrap();
            unfinished.push(socket);
        }
        await_connections(&server, (HEADS + BODIES) as u64).await;

        for number in 0..20 {
            assert_eq!(post(address, "/channels/a", number.to_string()).status, 201);
            assert_eq!(get(address, "/healthz").status, 200);
        }

        let ends = unfinished
            .into_iter()
            .map(|socket| read_to_the_end(socket, start));
        let ends = join_all(ends).await;
        let (heads, bodies) = ends.split_at(HEADS);
        for (answer, after) in heads {
            assert_eq!(answer, "");
            assert!(*after >= REQUEST_TIME, "closed after {after:?}");
        }
        for (answer, after) in bodies {
            assert!(answer.starts_with("HTTP/1.1 408 "), "{answer:?}");
            assert!(*after >= REQUEST_TIME, "closed after {after:?}");
        }
        await_connections(&server, 0).await;
        await_open_files(&server, files).await;
        // Nothing of the bodies was published.
        assert_eq!(metric(&server, "tidings_hub_entries_total"), 20);
    });
}
