//! `Script` and `Step`: the behaviour of a server on one connection.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;

use super::received::Received;
use super::wire::Wire;

/// The behaviour of a server on one connection.
pub enum Script {
    /// Refuses the connection.
    Refuse,
    /// Takes these steps without reading the request.
    Unread(Vec<Step>),
    /// Reads the request, and takes the steps that this returns.
    Answer(Answer),
}

/// The steps that answer a request.
pub type Answer = Box<dyn FnOnce(&Received) -> Vec<Step> + Send>;

/// One step of a server. After the last step it closes its half of the connection.
#[derive(Debug, Clone)]
pub enum Step {
    /// Sends these bytes, in one write.
    Send(Vec<u8>),
    /// Waits.
    Wait(Duration),
    /// Sends nothing more, and waits until the client closes.
    Stall,
    /// Breaks the connection.
    Reset,
}

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n";

impl Script {
    /// Reads the request and takes these steps.
    pub fn answer(steps: impl IntoIterator<Item = Step>) -> Self {
        let steps = steps.into_iter().collect();
        Self::Answer(Box::new(move |_| steps))
    }

    /// A complete answer with this status, these header lines and no body.
    #[must_use]
    pub fn status(status: u16, headers: &str) -> Self {
        let head = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n{headers}\r\n");
        Self::answer([Step::send(head)])
    }

    /// An event stream with this text, which ends with the connection.
    pub fn stream(text: impl AsRef<str>) -> Self {
        Self::answer([Step::head(), Step::send(text.as_ref())])
    }
}

impl Step {
    /// Sends this text.
    pub fn send(text: impl AsRef<[u8]>) -> Self {
        Self::Send(text.as_ref().to_vec())
    }

    /// Sends the head of an event stream that ends with the connection.
    #[must_use]
    pub fn head() -> Self {
        Self::send(format!("{HEAD}\r\n"))
    }

    /// Sends the head of an event stream in chunks.
    #[must_use]
    pub fn chunked_head() -> Self {
        Self::send(format!("{HEAD}transfer-encoding: chunked\r\n\r\n"))
    }

    /// Sends this text as a chunk; an empty chunk is the last one.
    pub fn chunk(text: impl AsRef<str>) -> Self {
        let text = text.as_ref();
        Self::send(format!("{:x}\r\n{text}\r\n", text.len()))
    }

    /// Waits for this many milliseconds.
    #[must_use]
    pub fn wait(millis: u64) -> Self {
        Self::Wait(Duration::from_millis(millis))
    }
}

pub(super) async fn play<W: Wire>(wire: &mut W, steps: Vec<Step>) -> io::Result<()> {
    for step in steps {
        match step {
            Step::Send(bytes) => wire.write_all(&bytes).await?,
            Step::Wait(time) => {
                // Notices a client that closes meanwhile.
                tokio::select! {
                    () = sleep(time) => {}
                    gone = until_gone(wire) => return gone,
                }
            }
            Step::Stall => return until_gone(wire).await,
            Step::Reset => return wire.reset(),
        }
    }
    wire.shutdown().await
}

/// Discards all bytes from the client, and fails after the client has closed its half.
async fn until_gone<W: Wire>(wire: &mut W) -> io::Result<()> {
    let mut rest = [0; 1024];
    while wire.read(&mut rest).await? > 0 {}
    Err(io::ErrorKind::BrokenPipe.into())
}
