//! `Publisher`: publishes numbers on one connection, one after the other.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tidings_testkit::timeout::timeout;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::process::LIMIT;
use crate::subscriber::Event;

/// A connection on which numbers are published. Each must be answered with 201.
#[derive(Debug)]
pub(crate) struct Publisher {
    connection: BufReader<TcpStream>,
    server: SocketAddr,
    target: &'static str,
    /// The number of digits of each published number.
    width: usize,
}

impl Publisher {
    /// Connects from 127.0.0.1, which no crowd has.
    pub(crate) async fn connect(server: SocketAddr, target: &'static str) -> Self {
        let connected = timeout(LIMIT, TcpStream::connect(server)).await.unwrap();
        Self {
            connection: BufReader::new(connected.unwrap()),
            server,
            target,
            width: 1,
        }
    }

    /// Publishes each number with so many digits, so that events have a size.
    pub(crate) fn width(mut self, width: usize) -> Self {
        self.width = width;
        self
    }

    /// Publishes a number, and returns it with the ID of its event.
    pub(crate) async fn publish(&mut self, number: u64) -> Event {
        self.publish_to(self.target, number).await
    }

    /// Publishes a number to another channel.
    pub(crate) async fn publish_to(&mut self, target: &str, number: u64) -> Event {
        let body = format!("{number:0width$}", width = self.width);
        let answer = self.request("POST", target, &body, 201).await;
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        let id = answer["id"].as_str().unwrap().to_owned();
        Event { id, number }
    }

    /// Ends the channel of this event, which is its newest.
    ///
    /// A refusal says how many entries are newer than the event, so whether the retention can have removed
    /// it, and whether the server refuses the end a second time.
    pub(crate) async fn end(&mut self, target: &str, newest: &Event) {
        let (first, body) = self.answer("DELETE", target, "").await;
        if first.starts_with("HTTP/1.1 200 ") {
            return;
        }
        let (again, _) = self.answer("DELETE", target, "").await;
        let later = self.publish_to("/channels/later", 0).await;
        panic!(
            "DELETE {target}: {first:?} {body:?}, and again {again:?}; its event has the ID {}, and a later one {}",
            newest.id, later.id
        );
    }

    /// Sends a request, and returns the body of the answer, which must have this status.
    async fn request(&mut self, method: &str, target: &str, body: &str, status: u16) -> String {
        let (first, body) = self.answer(method, target, body).await;
        let expected = format!("HTTP/1.1 {status} ");
        assert!(
            first.starts_with(&expected),
            "{method} {target}: {first:?} {body:?}"
        );
        body
    }

    /// Sends a request, and returns the first line and the body of the answer.
    async fn answer(&mut self, method: &str, target: &str, body: &str) -> (String, String) {
        let (server, length) = (self.server, body.len());
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: {server}\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        let answered = timeout(LIMIT, self.exchange(&request)).await;
        answered
            .unwrap_or_else(|_| panic!("{method} {target} is not answered"))
            .unwrap_or_else(|error| panic!("{method} {target}: {error}"))
    }

    /// The first line and the body of the answer to a request.
    async fn exchange(&mut self, request: &str) -> io::Result<(String, String)> {
        self.connection.write_all(request.as_bytes()).await?;
        let mut first = String::new();
        self.connection.read_line(&mut first).await?;
        let mut length = 0;
        loop {
            let mut line = String::new();
            self.connection.read_line(&mut line).await?;
            if line.trim_end().is_empty() {
                break;
            }
            if let Some(text) = line.strip_prefix("content-length: ") {
                length = text.trim_end().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        self.connection.read_exact(&mut body).await?;
        Ok((first, String::from_utf8(body).unwrap()))
    }

    /// Publishes the numbers from this one on, with a pause after each, until it is stopped.
    pub(crate) fn keep_publishing(mut self, first: u64, pause: Duration) -> Publishing {
        let is_stopped = Arc::new(AtomicBool::new(false));
        let stops = Arc::clone(&is_stopped);
        let task = tokio::spawn(async move {
            let mut events = Vec::new();
            while !stops.load(Ordering::SeqCst) {
                events.push(self.publish(first + events.len() as u64).await);
                sleep(pause).await;
            }
            events
        });
        Publishing { is_stopped, task }
    }
}

/// A publisher at work.
#[derive(Debug)]
pub(crate) struct Publishing {
    is_stopped: Arc<AtomicBool>,
    task: JoinHandle<Vec<Event>>,
}

impl Publishing {
    /// Stops it, and returns what it has published.
    pub(crate) async fn stop(self) -> Vec<Event> {
        self.is_stopped.store(true, Ordering::SeqCst);
        timeout(LIMIT, self.task).await.unwrap().unwrap()
    }
}
