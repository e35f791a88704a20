//! A server with one request per connection. The test decides each answer.

use std::io;
use std::net::SocketAddr;

use tidings_testkit::timeout::timeout;
use tokio::io::{
    AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, ReadHalf, WriteHalf, split,
};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::{DEADLINE, NEVER};

/// The head of an event stream in chunks, which a client reads one by one.
const STREAM: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

pub(crate) struct Server {
    listener: TcpListener,
}

/// A port that is reserved, but does not listen yet.
pub(crate) struct ClosedPort {
    socket: TcpSocket,
}

/// A connection and its request.
pub(crate) struct Connection {
    pub(crate) request: Request,
    reader: BufReader<ReadHalf<TcpStream>>,
    writer: WriteHalf<TcpStream>,
}

#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    /// Names in lower case.
    headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

impl ClosedPort {
    pub(crate) fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        Self { socket }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.socket.local_addr().unwrap())
    }

    pub(crate) fn open(self) -> Server {
        let listener = self.socket.listen(64).unwrap();
        Server { listener }
    }
}

impl Server {
    pub(crate) fn start() -> Self {
        ClosedPort::new().open()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.listener.local_addr().unwrap())
    }

    pub(crate) async fn accept(&self) -> Connection {
        let accepted = timeout(DEADLINE, async {
            let (stream, _) = self.listener.accept().await?;
            Connection::read(stream).await
        });
        accepted.await.expect("a request in time").unwrap()
    }

    /// Accepts a request for an event stream, and begins one.
    pub(crate) async fn open(&self) -> Connection {
        let mut connection = self.accept().await;
        connection.write(STREAM).await;
        connection
    }

    pub(crate) async fn answer(&self, response: &str) -> Request {
        let mut connection = self.accept().await;
        connection.write(response).await;
        connection.request
    }

    pub(crate) async fn expect_no_request(&self) {
        let accepted = timeout(NEVER, self.listener.accept()).await;
        assert!(accepted.is_err(), "a request too many");
    }
}

impl Connection {
    async fn read(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let (reader, writer) = split(stream);
        let mut reader = BufReader::new(reader);
        let line = read_line(&mut reader).await?;
        let line = String::from_utf8(line).unwrap();
        let [method, target, "HTTP/1.1"] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line:?} is not a request line");
        };
        let mut request = Request {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
        };
        loop {
            let line = read_line(&mut reader).await?;
            if line.is_empty() {
                break;
            }
            let colon = line.iter().position(|&byte| byte == b':').unwrap();
            let name = String::from_utf8(line[..colon].to_ascii_lowercase()).unwrap();
            let value = line[colon + 1..].trim_ascii().to_vec();
            request.headers.push((name, value));
        }
        if let [length] = request.header("content-length")[..] {
            request.body.resize(length.parse().unwrap(), 0);
            reader.read_exact(&mut request.body).await?;
        }
        Ok(Self {
            request,
            reader,
            writer,
        })
    }

    /// Writes the text, and ignores errors: a client may close before it has read everything.
    pub(crate) async fn write(&mut self, text: impl AsRef<[u8]>) {
        self.writer.write_all(text.as_ref()).await.ok();
    }

    /// Sends a chunk of the stream.
    pub(crate) async fn send(&mut self, chunk: impl AsRef<[u8]>) {
        let chunk = chunk.as_ref();
        let mut bytes = format!("{:x}\r\n", chunk.len()).into_bytes();
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
        self.write(bytes).await;
    }

    /// Ends the stream with its last chunk. A connection dropped without it is cut.
    pub(crate) async fn end(mut self) {
        self.write("0\r\n\r\n").await;
    }

    /// Waits until the client closes.
    pub(crate) async fn expect_closed(mut self) {
        let read = timeout(DEADLINE, self.reader.read_u8()).await;
        assert!(read.expect("an end in time").is_err());
    }
}

impl Request {
    /// The values of each header of this name.
    pub(crate) fn header(&self, name: &str) -> Vec<&str> {
        let values = self.headers.iter().filter(|(found, _)| found == name);
        values
            .map(|(_, value)| str::from_utf8(value).unwrap())
            .collect()
    }
}

async fn read_line(reader: &mut BufReader<ReadHalf<TcpStream>>) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line).await?;
    match line.strip_suffix(b"\r\n") {
        Some(line) => Ok(line.to_vec()),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
