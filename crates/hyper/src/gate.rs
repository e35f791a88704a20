//! `Gate`: the stream of bytes to a server, of which hyper reads only the head of the response.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use crate::head_scanner::HeadScanner;

/// The stream of bytes to a server. hyper reads the head of the response from it, through a
/// [`GateHandle`]; the rest is read with [`poll_read_body`](Self::poll_read_body).
pub(crate) struct Gate<IO> {
    io: IO,
    scanner: HeadScanner,
    is_head_over: bool,
    /// Bytes that were read ahead of the body: first, those that were read together with the end of the
    /// head.
    rest: BytesMut,
    /// Whether the last write or flush was a flush that completed.
    is_flushed: bool,
}

impl<IO> Gate<IO> {
    pub(crate) fn new(io: IO) -> Self {
        Self {
            io,
            scanner: HeadScanner::default(),
            is_head_over: false,
            rest: BytesMut::new(),
            is_flushed: false,
        }
    }

    /// Whether hyper has received the whole head.
    pub(crate) fn is_head_over(&self) -> bool {
        self.is_head_over
    }

    /// Whether everything that was written has also been flushed.
    pub(crate) fn is_flushed(&self) -> bool {
        self.is_flushed
    }

    /// The bytes that were read ahead of the body, which come before those of
    /// [`poll_read_body`](Self::poll_read_body).
    pub(crate) fn rest(&mut self) -> &mut BytesMut {
        &mut self.rest
    }
}

impl<IO: AsyncRead + Unpin> Gate<IO> {
    /// Reads from the stream itself. Returns the number of bytes; none if the peer has closed.
    pub(crate) fn poll_read_body(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        // This future has no state, so it can be dropped after a poll.
        pin!(self.io.read_buf(buffer)).poll(cx)
    }

    /// Reads bytes of the head. After its end, a read stays pending for ever.
    fn poll_read_head(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_head_over {
            return Poll::Pending;
        }
        let start = buffer.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buffer))?;
        let bytes = &buffer.filled()[start..];
        if let Some(end) = self.scanner.end(bytes) {
            self.is_head_over = true;
            self.rest = BytesMut::from(&bytes[end..]);
            buffer.set_filled(start + end);
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> Gate<IO> {
    /// Closes the stream for writing after a whole response, if that is possible at once. So a peer over
    /// TLS knows that nothing was cut off.
    ///
    /// Does nothing if the request was not sent whole, or if bytes follow the response: then a stream of
    /// [`DirectTransport::over`](crate::DirectTransport::over) must not be used again.
    pub(crate) fn shut_down(&mut self, cx: &mut Context<'_>) {
        if self.is_flushed && self.rest.is_empty() {
            // The response is complete, so an error changes nothing.
            drop(Pin::new(&mut self.io).poll_shutdown(cx));
        }
    }
}

/// hyper's side of a [`Gate`].
pub(crate) struct GateHandle<IO>(Arc<Mutex<Gate<IO>>>);

impl<IO> Clone for GateHandle<IO> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<IO> GateHandle<IO> {
    pub(crate) fn new(io: IO) -> Self {
        Self(Arc::new(Mutex::new(Gate::new(io))))
    }

    /// Never waits: all handles are used in one task, one after the other.
    pub(crate) fn gate(&self) -> MutexGuard<'_, Gate<IO>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The gate, after every other handle was dropped.
    pub(crate) fn into_gate(self) -> Gate<IO> {
        let Some(gate) = Arc::into_inner(self.0) else {
            unreachable!("hyper's connection holds the only other handle, and was dropped");
        };
        gate.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for GateHandle<IO> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.gate().poll_read_head(cx, buffer)
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for GateHandle<IO> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut gate = self.gate();
        gate.is_flushed = false;
        Pin::new(&mut gate.io).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut gate = self.gate();
        gate.is_flushed = false;
        ready!(Pin::new(&mut gate.io).poll_flush(cx))?;
        gate.is_flushed = true;
        Poll::Ready(Ok(()))
    }

    /// Only [`Gate::shut_down`] closes the stream: hyper may be done with a response that ends the
    /// connection before the request is sent.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut gate = self.gate();
        gate.is_flushed = false;
        Pin::new(&mut gate.io).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.gate().io.is_write_vectored()
    }
}
