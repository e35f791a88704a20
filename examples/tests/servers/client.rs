//! A client of one request. It reads the response chunk by chunk, only as the test asks for it.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The limit of each wait.
const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) struct Client {
    connection: BufReader<TcpStream>,
    /// The head of the response, in lower case.
    pub(crate) head: String,
    /// Received blocks that the test has not taken.
    blocks: VecDeque<String>,
    /// The beginning of a block that is incomplete.
    rest: String,
}

impl Client {
    /// Sends this request and reads the head of the response. `request` has no version; `headers` are whole
    /// lines.
    pub(crate) fn send(address: SocketAddr, request: &str, headers: &str, body: &[u8]) -> Self {
        let mut connection = TcpStream::connect(address).expect("the server accepts");
        connection
            .set_read_timeout(Some(DEADLINE))
            .expect("a timeout that is not 0");
        let length = body.len();
        write!(
            connection,
            "{request} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n{headers}\r\n"
        )
        .and_then(|()| connection.write_all(body))
        .expect("the server reads");
        let mut client = Self {
            connection: BufReader::new(connection),
            head: String::new(),
            blocks: VecDeque::new(),
            rest: String::new(),
        };
        while !client.head.ends_with("\r\n\r\n") {
            let line = client.line();
            client.head.push_str(&line.to_ascii_lowercase());
        }
        client
    }

    pub(crate) fn get(address: SocketAddr, path: &str) -> Self {
        Self::send(address, &format!("GET {path}"), "", b"")
    }

    pub(crate) fn status(&self) -> u16 {
        let status = self
            .head
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok());
        status.unwrap_or_else(|| panic!("no status in {:?}", self.head))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let headers = self.head.lines().filter_map(|line| line.split_once(": "));
        headers
            .into_iter()
            .find(|(n, _)| *n == name)
            .map(|(_, value)| value)
    }

    /// The body of an ordinary response.
    pub(crate) fn body(mut self) -> String {
        let length = self
            .header("content-length")
            .and_then(|length| length.parse().ok());
        let mut body = vec![0; length.expect("a length")];
        self.connection.read_exact(&mut body).expect("a whole body");
        String::from_utf8(body).expect("text")
    }

    /// The next block of the stream, without its blank line. `None` at its clean end.
    pub(crate) fn block(&mut self) -> Option<String> {
        while self.blocks.is_empty() {
            let chunk = self.chunk();
            if chunk.is_empty() {
                assert_eq!(self.rest, "", "an incomplete block at the end");
                return None;
            }
            self.rest.push_str(&chunk);
            let mut blocks: VecDeque<_> = self.rest.split("\n\n").map(str::to_owned).collect();
            self.rest = blocks.pop_back().unwrap_or_default();
            self.blocks = blocks;
        }
        self.blocks.pop_front()
    }

    /// The next block that is not a checkpoint, which is an ID alone.
    pub(crate) fn event(&mut self) -> Option<String> {
        loop {
            let block = self.block()?;
            if block.lines().any(|line| !line.starts_with("id: ")) {
                return Some(block);
            }
        }
    }

    /// The next chunk. The last chunk is empty. Panics if the stream is cut.
    pub(crate) fn chunk(&mut self) -> String {
        let size = self.line();
        let size = usize::from_str_radix(size.trim_end(), 16);
        let mut chunk = vec![0; size.expect("the size of a chunk") + 2];
        self.connection
            .read_exact(&mut chunk)
            .expect("a whole chunk");
        chunk.truncate(chunk.len() - 2);
        String::from_utf8(chunk).expect("text")
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.connection.read_line(&mut line).expect("a line");
        assert!(line.ends_with('\n'), "the connection was cut in {line:?}");
        line
    }
}
