//! A client of HTTP/2 that writes its frames by hand.

use std::net::SocketAddr;

use tidings_testkit::timeout::timeout;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::app::SOON;
use crate::trust::{Authority, connect};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// The error code of a client that does too much.
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A GET of this path, as literals and entries of the static table.
pub(crate) fn get(path: &str) -> Vec<u8> {
    let mut fields = vec![0x82, 0x87, 0x04, u8::try_from(path.len()).unwrap()];
    fields.extend_from_slice(path.as_bytes());
    fields.extend_from_slice(b"\x01\x09localhost");
    fields
}

/// A client that writes frames by hand.
pub(crate) struct Attacker {
    pub(crate) io: Box<dyn Io>,
}

impl Attacker {
    pub(crate) async fn connect(address: SocketAddr, authority: Option<&Authority>) -> Self {
        let socket = TcpStream::connect(address).await.unwrap();
        let io: Box<dyn Io> = match authority {
            Some(authority) => Box::new(connect(&authority.client(&["h2"]), socket).await.unwrap()),
            None => Box::new(socket),
        };
        let mut attacker = Self { io };
        attacker.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        attacker.write(&frame(SETTINGS, 0, 0, &[])).await;
        attacker
    }

    /// Returns whether the connection is open.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> bool {
        let written = async {
            self.io.write_all(bytes).await?;
            self.io.flush().await
        };
        timeout(SOON, written).await.expect("it is open").is_ok()
    }

    /// Opens the windows of the connection and of all its streams as far as they go.
    pub(crate) async fn open_windows(&mut self) {
        let settings = frame(SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]);
        let window = frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0, 0, 0]);
        self.write(&[settings, window].concat()).await;
    }

    /// Sends a whole request on this stream.
    pub(crate) async fn get(&mut self, stream: u32, path: &str) {
        self.write(&frame(
            HEADERS,
            END_STREAM | END_HEADERS,
            stream,
            &get(path),
        ))
        .await;
    }

    /// Writes without reading, until the server takes no more or cuts. Returns how many bytes.
    pub(crate) async fn write_without_end(&mut self, bytes: &[u8]) -> usize {
        let mut total = 0;
        while self.write(bytes).await {
            total += bytes.len();
        }
        total
    }

    /// The error code of GOAWAY, if it arrives before the end.
    pub(crate) async fn read_goaway(&mut self) -> Option<u32> {
        let mut read = Vec::new();
        // A server that is written to after it has closed resets the connection.
        timeout(SOON, self.io.read_to_end(&mut read))
            .await
            .expect("it is open")
            .ok();
        let mut rest = &*read;
        while let Some((head, more)) = rest.split_at_checked(9) {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let (payload, more) = more.split_at_checked(length as usize)?;
            if head[3] == GOAWAY {
                let code = payload[4..8].try_into().unwrap();
                return Some(u32::from_be_bytes(code));
            }
            rest = more;
        }
        None
    }
}
