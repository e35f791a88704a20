//! The events that one session of the load receives, compared with the published ones.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;

use crate::harness::Result;
use crate::server::events::split_id;

pub const REQUEST: &[u8] =
    b"GET /events HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\
    cache-control: no-store\r\nuser-agent: tidings-bench\r\n\r\n";

pub struct SessionReader {
    stream: TcpStream,
    /// The bytes of an unfinished chunk.
    pending: Vec<u8>,
    pub is_open: bool,
    pub events: usize,
    /// The bytes of these events.
    pub bytes: usize,
    pub heartbeats: usize,
}

impl SessionReader {
    pub fn open(address: SocketAddr) -> Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        // Otherwise thousands of ports would stay taken for a minute after each sample.
        set_socket_linger(&stream, Some(Duration::ZERO))?;
        stream.write_all(REQUEST)?;
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            pending: Vec::new(),
            is_open: false,
            events: 0,
            bytes: 0,
            heartbeats: 0,
        })
    }

    /// Reads once, and checks the whole chunks.
    pub fn read(&mut self, buffer: &mut [u8], script: &[String]) -> Result<()> {
        let length = match self.stream.read(buffer) {
            Ok(0) => return Err("a session ended".into()),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let mut pending = std::mem::take(&mut self.pending);
        pending.extend_from_slice(&buffer[..length]);
        let mut rest = &pending[..];
        if !self.is_open {
            rest = self.take_head(rest)?;
        }
        while self.is_open
            && let Some((chunk, after)) = take_chunk(rest)?
        {
            self.read_chunk(chunk, script)?;
            rest = after;
        }
        let taken = pending.len() - rest.len();
        pending.drain(..taken);
        self.pending = pending;
        Ok(())
    }

    fn take_head<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8]> {
        let Some(end) = find(bytes, b"\r\n\r\n") else {
            return Ok(bytes);
        };
        if !bytes.starts_with(b"HTTP/1.1 200 OK\r\n") {
            return Err(format!("refused: {}", String::from_utf8_lossy(bytes)).into());
        }
        self.is_open = true;
        Ok(&bytes[end + 4..])
    }

    /// Checks a chunk of whole events: none of the servers cuts one.
    fn read_chunk(&mut self, mut chunk: &[u8], script: &[String]) -> Result<()> {
        while let Some(end) = find(chunk, b"\n\n") {
            let (block, after) = chunk.split_at(end + 2);
            let event = split_id(block).1;
            if block.starts_with(b":") {
                self.heartbeats += 1;
            } else if event == b"\n" {
                // A checkpoint, for a client that has received no event.
            } else if script.get(self.events).map(String::as_bytes) == Some(event) {
                self.events += 1;
                self.bytes += block.len();
            } else {
                let (number, block) = (self.events, String::from_utf8_lossy(block));
                return Err(format!("event {number} arrived as {block:?}").into());
            }
            chunk = after;
        }
        if chunk.is_empty() {
            Ok(())
        } else {
            Err("a chunk ends within an event".into())
        }
    }
}

impl AsFd for SessionReader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// The first chunk of an HTTP body, and the bytes after it; `None` if it is incomplete.
pub fn take_chunk(bytes: &[u8]) -> Result<Option<(&[u8], &[u8])>> {
    let Some(end) = find(bytes, b"\r\n") else {
        return Ok(None);
    };
    let length = usize::from_str_radix(str::from_utf8(&bytes[..end])?, 16)?;
    let rest = &bytes[end + 2..];
    Ok(rest.get(..length).zip(rest.get(length + 2..)))
}

pub fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, wanted)
}
