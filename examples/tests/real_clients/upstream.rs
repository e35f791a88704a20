//! A language model whose answers the test writes.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

/// The limit of each wait.
const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) struct Upstream {
    address: SocketAddr,
    asked: Receiver<Asked>,
}

impl Upstream {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("the port's number");
        let (sender, asked) = channel();
        thread::spawn(move || {
            while let Ok((socket, _)) = listener.accept() {
                sender.send(Asked::read(socket)).ok();
            }
        });
        Self { address, asked }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/v1/chat/completions", self.address)
    }

    /// Waits for the next question.
    pub(crate) fn asked(&self) -> Asked {
        self.asked.recv_timeout(DEADLINE).expect("a question")
    }

    /// Returns whether there is another question.
    #[allow(dead_code, reason = "for some tests")]
    pub(crate) fn is_asked(&self) -> bool {
        self.asked.try_recv().is_ok()
    }
}

/// A question whose answer is open. If it is dropped, the answer is cut.
pub(crate) struct Asked {
    socket: TcpStream,
    #[allow(dead_code, reason = "for some tests")]
    pub(crate) question: Value,
}

impl Asked {
    fn read(socket: TcpStream) -> Self {
        socket
            .set_read_timeout(Some(DEADLINE))
            .expect("a timeout that is not 0");
        let mut request = BufReader::new(&socket);
        let mut length = 0;
        loop {
            let mut line = String::new();
            request.read_line(&mut line).expect("a line");
            match line.to_ascii_lowercase().split_once(": ") {
                Some(("content-length", value)) => length = value.trim().parse().expect("a length"),
                _ if line == "\r\n" => break,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        request.read_exact(&mut body).expect("a whole body");
        let question = serde_json::from_slice(&body).expect("JSON");
        Self { socket, question }
    }

    /// Starts the stream.
    pub(crate) fn open(mut self) -> Self {
        self.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
        self
    }

    pub(crate) fn write(&mut self, text: &str) {
        self.socket.write_all(text.as_bytes()).expect("it reads");
    }

    pub(crate) fn data(&mut self, data: &str) {
        let event = format!("data: {data}\n\n");
        self.write(&format!("{:x}\r\n{event}\r\n", event.len()));
    }

    pub(crate) fn token(&mut self, token: &str) {
        let choices = json!([{ "index": 0, "delta": { "content": token } }]);
        self.data(&json!({ "object": "chat.completion.chunk", "choices": choices }).to_string());
    }

    /// Ends the stream cleanly for HTTP, even without `[DONE]`.
    pub(crate) fn end(mut self) {
        self.write("0\r\n\r\n");
    }

    pub(crate) fn done(mut self) {
        self.data("[DONE]");
        self.end();
    }

    /// Waits until the client has disconnected.
    #[allow(dead_code, reason = "for some tests")]
    pub(crate) fn expect_disconnect(mut self) {
        let read = self.socket.read(&mut [0]);
        // A reset is a disconnect too.
        let is_disconnected = match &read {
            Ok(read) => *read == 0,
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        };
        assert!(is_disconnected, "it is still connected: {read:?}");
    }
}
