//! `DirectBody`: a response body that reads from its own connection.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};

use crate::connect::Duplex;
use crate::framing::Framing;
use crate::gate::Gate;
use crate::read_buffer::{detach_small, take_frame, with_read_buffer};
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
    fn poll_payload(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        self.link.advance(cx);
        let mut rest = self.link.with_gate(|gate| mem::take(gate.rest()));
        if !rest.is_empty() {
            return Poll::Ready(Ok(self.read(&mut rest)));
        }
        with_read_buffer(|buffer| {
            let read = self.link.with_gate(|gate| gate.poll_read_body(cx, buffer));
            if ready!(read)? == 0 {
                self.framing.handle_close()?;
            }
            let payload = self.read(buffer);
            self.link.with_gate(|gate| detach_small(gate.rest()));
            Poll::Ready(Ok(payload))
        })
    }

    /// Takes the payload among these bytes.
    fn read(&mut self, bytes: &mut BytesMut) -> Bytes {
        let payload = self.framing.read(bytes);
        self.failure = payload.error;
        if payload.read < bytes.len() {
            let rest = bytes.split_off(payload.read);
            self.link.with_gate(|gate| *gate.rest() = rest);
        }
        bytes.truncate(payload.length);
        take_frame(bytes)
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
                Ok(payload) => return Poll::Ready(Some(Ok(Frame::data(payload)))),
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
