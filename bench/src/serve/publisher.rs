//! `Publisher`: the connection of a publisher, which checks each answer.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use memchr::memmem;
use rustix::net::sockopt::set_socket_linger;
use tokio::time::Instant;

use crate::harness::Result;

/// The longest wait for an answer; the sample fails after it.
const TIMEOUT: Duration = Duration::from_secs(30);

const BUFFER_BYTES: usize = 64 * 1024;

pub struct Publisher {
    socket: TcpStream,
    /// The bytes of an unfinished answer.
    received: Vec<u8>,
    buffer: Vec<u8>,
    /// The lines of a batch; `None` if each request publishes one event.
    lines: Option<usize>,
}

impl Publisher {
    /// Connects a publisher that waits for its answers.
    pub fn open(address: SocketAddr, lines: Option<usize>) -> Result<Self> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(TIMEOUT))?;
        // Otherwise the ports would stay taken for a minute after each sample.
        set_socket_linger(&socket, Some(Duration::ZERO))?;
        Ok(Self {
            socket,
            received: Vec::new(),
            buffer: vec![0; BUFFER_BYTES],
            lines,
        })
    }

    /// From now on, [`receive`](Self::receive) does not wait.
    pub fn poll_answers(&self) -> Result<()> {
        Ok(self.socket.set_nonblocking(true)?)
    }

    pub fn send(&mut self, requests: &[u8]) -> Result<()> {
        Ok(self.socket.write_all(requests)?)
    }

    /// Reads once. Returns how many more events are confirmed.
    pub fn receive(&mut self) -> Result<usize> {
        match self.socket.read(&mut self.buffer) {
            Ok(0) => return Err("a publisher's connection ended".into()),
            Ok(length) => self.received.extend_from_slice(&self.buffer[..length]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            Err(error) => return Err(error.into()),
        }
        let (mut rest, mut events) = (&self.received[..], 0);
        while let Some((answer, after)) = split_answer(rest)? {
            events += confirmed(answer, self.lines)?;
            rest = after;
        }
        let taken = self.received.len() - rest.len();
        self.received.drain(..taken);
        Ok(events)
    }

    /// Waits until so many more events are confirmed.
    pub fn await_confirmed(&mut self, events: usize) -> Result<()> {
        let end = Instant::now() + TIMEOUT;
        let mut missing = events;
        while missing > 0 {
            if Instant::now() > end {
                return Err("a publication was not answered in time".into());
            }
            let rest = missing.checked_sub(self.receive()?);
            missing = rest.ok_or("there are more answers than requests")?;
        }
        Ok(())
    }
}

impl AsFd for Publisher {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The head and the body of an answer.
type Answer<'b> = (&'b [u8], &'b [u8]);

/// The first answer, and the bytes after it; `None` if it is not complete.
fn split_answer(bytes: &[u8]) -> Result<Option<(Answer<'_>, &[u8])>> {
    let Some(end) = memmem::find(bytes, b"\r\n\r\n") else {
        return Ok(None);
    };
    let (head, rest) = bytes.split_at(end + 4);
    let length = content_length(head).ok_or("an answer has no length")?;
    Ok(rest
        .split_at_checked(length)
        .map(|(body, after)| ((head, body), after)))
}

fn content_length(head: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"ontent-length: ";
    // nginx begins its names with a capital.
    let lower = memmem::find(head, NAME);
    let start = lower.or_else(|| memmem::find(head, b"ontent-Length: "))? + NAME.len();
    let digits = &head[start..];
    let end = memchr::memchr(b'\r', digits)?;
    str::from_utf8(&digits[..end]).ok()?.parse().ok()
}

/// The events that an answer confirms. A refusal is an error.
fn confirmed((head, body): Answer<'_>, lines: Option<usize>) -> Result<usize> {
    let is_success = head.starts_with(b"HTTP/1.1 2");
    let Some(lines) = lines.filter(|_| is_success) else {
        return if is_success {
            Ok(1)
        } else {
            Err(format!("refused: {}", String::from_utf8_lossy(head)).into())
        };
    };
    let ids = memmem::find_iter(body, b"{\"id\":").count();
    if ids != lines {
        let first =
            String::from_utf8_lossy(body.split(|byte| *byte == b'\n').next().unwrap_or(body));
        return Err(format!("{ids} of {lines} lines were published; the first: {first}").into());
    }
    Ok(ids)
}
