//! `EventStream`: the events that a subscriber receives, whatever server sends them.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;

use crate::harness::Result;
use crate::server::session_reader::{find, take_chunk};

/// The longest wait for an event, if the stream is read by a waiting thread.
const TIMEOUT: Duration = Duration::from_secs(30);

pub struct EventStream {
    socket: TcpStream,
    body: Body,
    /// Bytes of an unfinished head or chunk.
    received: Vec<u8>,
    /// The text of an unfinished event.
    text: Vec<u8>,
    /// Whether a read waits for data.
    waits: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Body {
    /// The head is not complete yet.
    Expected,
    Chunked,
    /// The body ends with the connection, as that of Nchan does.
    Plain,
}

/// A received event.
pub struct Received<'t> {
    pub id: &'t str,
    pub data: &'t str,
}

impl EventStream {
    pub fn open(address: SocketAddr, request: &str) -> Result<Self> {
        let mut socket = TcpStream::connect(address)?;
        // Otherwise thousands of ports would stay taken for a minute after each sample.
        set_socket_linger(&socket, Some(Duration::ZERO))?;
        socket.set_read_timeout(Some(TIMEOUT))?;
        socket.write_all(request.as_bytes())?;
        Ok(Self {
            socket,
            body: Body::Expected,
            received: Vec::new(),
            text: Vec::new(),
            waits: true,
        })
    }

    /// From now on, [`read`](Self::read) does not wait.
    pub fn poll_events(&mut self) -> Result<()> {
        self.waits = false;
        Ok(self.socket.set_nonblocking(true)?)
    }

    /// Whether the head has arrived.
    pub fn is_open(&self) -> bool {
        self.body != Body::Expected
    }

    /// Reads once, and passes the whole events on.
    pub fn read(
        &mut self,
        buffer: &mut [u8],
        mut receive: impl FnMut(Received<'_>) -> Result<()>,
    ) -> Result<()> {
        let length = match self.socket.read(buffer) {
            Ok(0) => return Err("a stream ended".into()),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock && !self.waits => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        self.received.extend_from_slice(&buffer[..length]);
        if self.body == Body::Expected {
            self.take_head()?;
        }
        match self.body {
            Body::Expected => return Ok(()),
            Body::Chunked => self.take_chunks()?,
            Body::Plain => self.text.append(&mut self.received),
        }
        let mut rest = &self.text[..];
        while let Some(end) = find(rest, b"\n\n") {
            if let Some(event) = parse(str::from_utf8(&rest[..end])?)? {
                receive(event)?;
            }
            rest = &rest[end + 2..];
        }
        let taken = self.text.len() - rest.len();
        self.text.drain(..taken);
        Ok(())
    }

    fn take_head(&mut self) -> Result<()> {
        let Some(end) = find(&self.received, b"\r\n\r\n") else {
            return Ok(());
        };
        let head = &self.received[..end + 2];
        if !head.starts_with(b"HTTP/1.1 200 OK\r\n") {
            return Err(format!("refused: {}", String::from_utf8_lossy(head)).into());
        }
        let is_chunked = find(head, b"\r\ntransfer-encoding: chunked\r\n").is_some();
        self.body = if is_chunked {
            Body::Chunked
        } else {
            Body::Plain
        };
        self.received.drain(..end + 4);
        Ok(())
    }

    fn take_chunks(&mut self) -> Result<()> {
        let mut rest = &self.received[..];
        while let Some((chunk, after)) = take_chunk(rest)? {
            self.text.extend_from_slice(chunk);
            rest = after;
        }
        let taken = self.received.len() - rest.len();
        self.received.drain(..taken);
        Ok(())
    }
}

impl AsFd for EventStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The event of a block; `None` if it has no data, as a comment or a checkpoint.
fn parse(block: &str) -> Result<Option<Received<'_>>> {
    let (mut id, mut data) = ("", None);
    for line in block.split('\n') {
        match line.split_once(": ") {
            Some(("id", value)) => id = value,
            Some(("data", value)) => data = Some(value),
            Some(("event", name)) => return Err(format!("received {name}: {block}").into()),
            _ => {}
        }
    }
    Ok(data.map(|data| Received { id, data }))
}
