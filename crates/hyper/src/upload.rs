//! `Upload`: an exchange whose request may still be on its way, and the body of that request.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, MutexGuard};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use crate::connect::Duplex;
use crate::gate::{Gate, GateHandle};

pub(crate) type Connection<IO> = http1::Connection<TokioIo<GateHandle<IO>>, RequestBody>;

/// The connection of an exchange, from the head of its response until the request is sent. A server may
/// answer before it has read the request.
pub(crate) struct Upload<IO: Duplex> {
    /// Writes the request. `None` after it has closed.
    connection: Option<Connection<IO>>,
    gate: GateHandle<IO>,
    body_end: BodyEnd,
    /// hyper closes the connection without it. It yields nothing, because hyper reads no byte of the
    /// body.
    _unread: Incoming,
}

impl<IO: Duplex> Upload<IO> {
    pub(crate) fn new(
        connection: Option<Connection<IO>>,
        gate: GateHandle<IO>,
        body_end: BodyEnd,
        unread: Incoming,
    ) -> Self {
        Self {
            connection,
            gate,
            body_end,
            _unread: unread,
        }
    }

    /// Whether hyper writes nothing more.
    pub(crate) fn is_over(&self) -> bool {
        self.connection.is_none() || (self.body_end.is_reached() && self.gate.gate().is_flushed())
    }

    /// Writes more of the request.
    pub(crate) fn advance(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection
            && Pin::new(connection).poll(cx).is_ready()
        {
            // If the server no longer reads the request, its response counts nevertheless.
            self.connection = None;
        }
    }

    pub(crate) fn gate(&self) -> MutexGuard<'_, Gate<IO>> {
        self.gate.gate()
    }

    /// Takes the stream of bytes back from hyper.
    pub(crate) fn into_gate(self) -> Gate<IO> {
        let read_ahead = self.connection.map(|connection| {
            let parts = connection.into_parts();
            parts.read_buf
        });
        let mut gate = self.gate.into_gate();
        // hyper reads no further than the head, so it has read nothing ahead.
        if let Some(bytes) = read_ahead.filter(|bytes| !bytes.is_empty()) {
            *gate.rest() = [bytes.as_ref(), gate.rest()].concat().as_slice().into();
        }
        gate
    }
}

/// The body of a request, which notes its end.
pub(crate) struct RequestBody {
    bytes: Full<Bytes>,
    end: BodyEnd,
}

/// Whether hyper has taken the whole body of a request.
#[derive(Clone)]
pub(crate) struct BodyEnd(Arc<AtomicBool>);

impl BodyEnd {
    fn is_reached(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl RequestBody {
    pub(crate) fn new(bytes: Bytes) -> Self {
        // hyper does not poll an empty body.
        let end = BodyEnd(Arc::new(AtomicBool::new(bytes.is_empty())));
        Self {
            bytes: Full::new(bytes),
            end,
        }
    }

    pub(crate) fn end(&self) -> BodyEnd {
        self.end.clone()
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frame = Pin::new(&mut self.bytes).poll_frame(cx);
        if self.bytes.is_end_stream() {
            self.end.0.store(true, Ordering::Relaxed);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.bytes.size_hint()
    }
}
