//! `Subscriber`: a subscriber on a raw socket, so cheap that one process has ten thousand.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

/// How many connections come from one source address. The server allows 1,800 subscribers of one address.
const PER_ADDRESS: usize = 500;

/// The size of one read.
const READ_BYTES: usize = 4096;

/// An event: its ID, and its data, which is a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) number: u64,
}

/// A subscriber that has received the head of its stream.
#[derive(Debug)]
pub(crate) struct Subscriber {
    socket: TcpStream,
    /// Bytes as they were received, with the framing of chunks.
    received: Vec<u8>,
    /// The text of the stream that no event was taken from yet.
    text: Vec<u8>,
    /// The ID of the last event or checkpoint.
    last_id: Option<String>,
}

/// Connects from a source address that hundreds of others share.
pub(crate) async fn connect(server: SocketAddr, number: usize) -> io::Result<TcpStream> {
    let host = u8::try_from(2 + number / PER_ADDRESS).expect("not that many connections");
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((Ipv4Addr::new(127, 0, 0, host), 0)))?;
    socket.connect(server).await
}

/// The head of a request for this stream.
pub(crate) fn head(server: SocketAddr, target: &str, last_id: Option<&str>) -> String {
    let mut head = format!("GET {target} HTTP/1.1\r\nHost: {server}\r\n");
    if let Some(id) = last_id {
        head += &format!("Last-Event-ID: {id}\r\n");
    }
    head + "\r\n"
}

impl Subscriber {
    /// Subscribes, after an ID if there is one. The number chooses the source address.
    ///
    /// # Panics
    /// If the answer is not a stream.
    pub(crate) async fn open(
        server: SocketAddr,
        target: &str,
        last_id: Option<String>,
        number: usize,
    ) -> io::Result<Self> {
        let mut socket = connect(server, number).await?;
        let head = head(server, target, last_id.as_deref());
        socket.write_all(head.as_bytes()).await?;
        let mut subscriber = Self {
            socket,
            received: Vec::new(),
            text: Vec::new(),
            last_id,
        };
        subscriber.read_head().await?;
        Ok(subscriber)
    }

    async fn read_head(&mut self) -> io::Result<()> {
        let end = loop {
            if let Some(end) = find(&self.received, b"\r\n\r\n") {
                break end + 4;
            }
            self.receive().await?;
        };
        let head = String::from_utf8(self.received.drain(..end).collect()).unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert!(head.contains("transfer-encoding: chunked"), "{head}");
        Ok(())
    }

    /// The ID of the last event or checkpoint.
    pub(crate) fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// The next event.
    ///
    /// # Panics
    /// If a block of the stream is neither an event with a number, a checkpoint nor a comment.
    pub(crate) async fn next(&mut self) -> io::Result<Event> {
        loop {
            while let Some(end) = find(&self.text, b"\n\n") {
                let block = String::from_utf8(self.text.drain(..end + 2).collect()).unwrap();
                if let Some(event) = self.take_block(&block) {
                    return Ok(event);
                }
            }
            self.receive().await?;
            self.take_chunks();
        }
    }

    /// The socket, for a client that stops or leaves in its own way.
    pub(crate) fn into_socket(self) -> TcpStream {
        self.socket
    }

    fn take_block(&mut self, block: &str) -> Option<Event> {
        let mut data = None;
        for line in block.lines().filter(|line| !line.is_empty()) {
            match line.split_once(": ") {
                Some(("id", id)) => self.last_id = Some(id.to_owned()),
                Some(("data", text)) => data = Some(text.parse().expect("a number")),
                _ => assert!(line.starts_with(':'), "{block:?}"),
            }
        }
        data.map(|number| Event {
            id: self.last_id.clone().expect("an ID"),
            number,
        })
    }

    /// Receives some bytes.
    async fn receive(&mut self) -> io::Result<()> {
        // On the stack only while it reads: ten thousand waiting subscribers have no buffers.
        self.socket.readable().await?;
        let mut buffer = [0; READ_BYTES];
        match self.socket.try_read(&mut buffer) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                self.received.extend_from_slice(&buffer[..count]);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Moves the text of whole chunks out of their framing.
    fn take_chunks(&mut self) {
        while let Some(line) = find(&self.received, b"\r\n") {
            let size = str::from_utf8(&self.received[..line]).unwrap();
            let size = usize::from_str_radix(size, 16).unwrap();
            let (start, end) = (line + 2, line + 2 + size);
            if self.received.len() < end + 2 {
                return;
            }
            assert_eq!(&self.received[end..end + 2], b"\r\n");
            self.text.extend_from_slice(&self.received[start..end]);
            self.received.drain(..end + 2);
        }
    }
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}
