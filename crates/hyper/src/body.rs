//! `DirectBody`: a response body that reads from its own connection.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame};
use tokio::io::ReadBuf;

use crate::connect::Duplex;
use crate::framing::Framing;
use crate::gate::Gate;
use crate::read_buffer::with_read_buffer;
use crate::upload::Upload;

/// Reads from its connection when it is polled, in the task that polls it. A frame has the payload of
/// all chunks that one read returns.
pub(crate) struct DirectBody<IO: Duplex> {
    link: Link<IO>,
    framing: Framing,
    /// The error that follows the payload received before it.
    failure: Option<io::Error>,
}

/// Where the bytes come from.
enum Link<IO: Duplex> {
    /// hyper still writes the request.
    Uploading(Box<Upload<IO>>),
    Own(Gate<IO>),
    Closed,
}

impl<IO: Duplex> DirectBody<IO> {
    pub(crate) fn new(upload: Upload<IO>, framing: Framing) -> Self {
        let link = if upload.is_over() {
            Link::Own(upload.into_gate())
        } else {
            Link::Uploading(Box::new(upload))
        };
        Self {
            link,
            framing,
            failure: None,
        }
    }

    /// The payload among the bytes of one read. It is empty if these bytes only separate chunks, or if
    /// they are the end.
    fn poll_payload(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Vec<u8>>> {
        self.link.advance(cx);
        let mut rest = self.link.with_gate(|gate| mem::take(gate.rest()));
        if !rest.is_empty() {
            let (payload, read) = self.read(&rest);
            rest.advance(read);
            self.keep(rest);
            return Poll::Ready(Ok(payload));
        }
        with_read_buffer(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            ready!(
                self.link
                    .with_gate(|gate| gate.poll_read_body(cx, &mut buffer))
            )?;
            let bytes = buffer.filled();
            if bytes.is_empty() {
                self.framing.handle_close()?;
            }
            let (payload, read) = self.read(bytes);
            self.keep(Bytes::copy_from_slice(&bytes[read..]));
            Poll::Ready(Ok(payload))
        })
    }

    /// The payload among these bytes, and how many of them were read.
    fn read(&mut self, bytes: &[u8]) -> (Vec<u8>, usize) {
        let mut payload = Vec::new();
        let read = self.framing.read(bytes, &mut payload);
        let read = read.unwrap_or_else(|error| {
            self.failure = Some(error);
            bytes.len()
        });
        (payload, read)
    }

    /// Keeps bytes for the next read.
    fn keep(&mut self, rest: Bytes) {
        if !rest.is_empty() {
            self.link.with_gate(|gate| *gate.rest() = rest);
        }
    }
}

impl<IO: Duplex> Body for DirectBody<IO> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        loop {
            let payload = match this.failure.take() {
                Some(failure) => Err(failure),
                None if this.framing.is_over() => {
                    this.link.close(cx);
                    return Poll::Ready(None);
                }
                None => ready!(this.poll_payload(cx)),
            };
            match payload {
                Ok(payload) if payload.is_empty() => {}
                Ok(payload) => return Poll::Ready(Some(Ok(Frame::data(payload.into())))),
                Err(error) => {
                    this.framing = Framing::Over;
                    this.link = Link::Closed;
                    return Poll::Ready(Some(Err(BodyError(error))));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.framing.is_over() && self.failure.is_none()
    }
}

impl<IO: Duplex> Link<IO> {
    /// Writes more of the request, and takes the stream of bytes once the request is sent.
    fn advance(&mut self, cx: &mut Context<'_>) {
        let Self::Uploading(upload) = self else {
            return;
        };
        upload.advance(cx);
        if upload.is_over()
            && let Self::Uploading(upload) = mem::replace(self, Self::Closed)
        {
            *self = Self::Own(upload.into_gate());
        }
    }

    fn with_gate<T>(&mut self, use_gate: impl FnOnce(&mut Gate<IO>) -> T) -> T {
        match self {
            Self::Uploading(upload) => use_gate(&mut upload.gate()),
            Self::Own(gate) => use_gate(gate),
            Self::Closed => unreachable!("a closed body is over, and not read"),
        }
    }

    /// Closes the connection after a complete response.
    fn close(&mut self, cx: &mut Context<'_>) {
        if let Self::Own(gate) = self {
            gate.shut_down(cx);
        }
        *self = Self::Closed;
    }
}

/// The error of a body: of the connection, or of its framing.
#[derive(Debug)]
pub(crate) struct BodyError(io::Error);

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("error reading a body from connection")
    }
}

impl StdError for BodyError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.0)
    }
}
