//! `Received`: a request as the server read it.

use std::io;

use tokio::io::AsyncReadExt;
use tokio::time::Instant;

use super::wire::Wire;

/// A request as the server read it, and when.
#[derive(Debug, Clone)]
pub struct Received {
    /// The request line and the header lines. Bytes that are not UTF-8 are replaced.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
    /// When the last byte was read.
    pub at: Instant,
}

impl Received {
    /// The values of the headers with this name, in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Vec<&str> {
        let lines = self.head.lines().skip(1);
        lines
            .filter_map(|line| line.split_once(':'))
            .filter(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .collect()
    }

    /// The request target, between the method and the version.
    #[must_use]
    pub fn target(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }
}

pub(super) async fn read<W: Wire>(wire: &mut W) -> io::Result<Received> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(wire.read_u8().await?);
    }
    let mut request = Received {
        head: String::from_utf8_lossy(&bytes).into_owned(),
        body: Vec::new(),
        at: Instant::now(),
    };
    let length = request.header("content-length");
    let length = length.first().and_then(|length| length.parse().ok());
    request.body.resize(length.unwrap_or(0), 0);
    wire.read_exact(&mut request.body).await?;
    request.at = Instant::now();
    Ok(request)
}
