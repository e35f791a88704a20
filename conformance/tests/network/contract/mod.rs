//! `contract-service`: LaunchDarkly's sse-contract-tests restated, and the service's interface.

mod http;
mod linefeeds;
mod parsing;
mod reconnection;
mod rest;

use std::process::Command;

use serde_json::{Value, json};
use tidings_testkit::timeout::timeout;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::DEADLINE;
use crate::process::Process;
use crate::server::{Connection, Server};

/// The program, on a free port.
struct Service {
    process: Process,
    /// `host:port`.
    address: String,
}

/// An answer of the service.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Service {
    async fn start() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_contract-service"));
        let mut process = Process::start(command.env_clear().env("PORT", "0"));
        let first = process.line().await.expect("where it listens");
        let address = first.strip_prefix("listening on http://");
        let address = address.unwrap_or_else(|| panic!("the first line is {first:?}"));
        let address = address.to_owned();
        Self { process, address }
    }

    async fn call(&self, method: &str, path: &str, body: &str) -> Answer {
        let address = &self.address;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let called = timeout(DEADLINE, async {
            let mut stream = TcpStream::connect(address).await?;
            stream.write_all(request.as_bytes()).await?;
            let mut text = String::new();
            stream.read_to_string(&mut text).await.map(|_| text)
        });
        let text = called.await.expect("an answer in time").unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        Answer {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }

    /// Makes a stream with these parameters.
    async fn stream(&self, params: Value) -> Stream {
        let (server, callbacks) = (Server::start(), Server::start());
        let mut all = json!({
            "tag": "test",
            "streamUrl": server.url("/stream?a=b"),
            "callbackUrl": callbacks.url("/callbacks/7"),
            "initialDelayMs": 5,
        });
        let given = params.as_object().unwrap().clone();
        all.as_object_mut().unwrap().extend(given);
        let made = self.call("POST", "/", &all.to_string()).await;
        assert_eq!(made.status, 201, "{made:?}");
        let path = made.header("location").to_owned();
        Stream {
            server,
            callbacks,
            path,
            called: 0,
        }
    }

    async fn open(&self) -> (Stream, Connection) {
        let stream = self.stream(json!({})).await;
        let connection = stream.server.open().await;
        (stream, connection)
    }

    /// Expects these callbacks for a stream of these chunks.
    async fn check(&self, chunks: &[impl AsRef<[u8]>], expected: &[Value]) {
        let (mut stream, mut connection) = self.open().await;
        for chunk in chunks {
            connection.send(chunk).await;
        }
        for expected in expected {
            assert_eq!(stream.callback().await, *expected);
        }
        self.close(stream).await;
        connection.expect_closed().await;
    }

    async fn close(&self, stream: Stream) {
        let closed = self.call("DELETE", &stream.path, "").await;
        assert_eq!(closed.status, 204, "{closed:?}");
    }
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| *found == name).unwrap().1
    }
}

/// A stream of the service, with the server that it reads and the server that receives its callbacks.
struct Stream {
    server: Server,
    callbacks: Server,
    /// The path of its resource.
    path: String,
    called: u64,
}

impl Stream {
    async fn callback(&mut self) -> Value {
        self.called += 1;
        let response = "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n";
        let request = self.callbacks.answer(response).await;
        let target = format!("/callbacks/7/{}", self.called);
        assert_eq!(request.method, "POST");
        assert_eq!(request.target, target);
        assert_eq!(request.header("content-type"), ["application/json"]);
        serde_json::from_slice(&request.body).unwrap()
    }

    async fn expect_event(&mut self, data: &str, id: &str) {
        assert_eq!(self.callback().await, event("message", data, id));
    }

    async fn expect_error(&mut self) {
        let callback = self.callback().await;
        assert_eq!(callback["kind"], "error", "{callback}");
        assert!(callback["error"].is_string(), "{callback}");
    }
}

fn event(event_type: &str, data: &str, id: &str) -> Value {
    json!({ "kind": "event", "event": { "type": event_type, "data": data, "id": id } })
}

fn message(data: &str) -> Value {
    event("message", data, "")
}

fn comment(text: &str) -> Value {
    json!({ "kind": "comment", "comment": text })
}
