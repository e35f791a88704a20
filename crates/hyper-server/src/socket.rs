//! `Socket`: the connection as hyper sees it, which knows whether hyper has written everything.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use hyper::rt::{Read, ReadBufCursor, Write};

/// The connection as hyper sees it.
///
/// hyper flushes its buffer each time it is polled, and ends with a flush of the connection if the buffer is
/// empty. So if the last call on the write side was a completed flush, hyper holds no byte back.
#[derive(Debug)]
pub(crate) struct Socket<I> {
    io: I,
    /// Bytes that were read before, and that hyper reads first.
    first: Bytes,
    is_flushed: Flushed,
}

/// Whether the last call on the write side of a connection was a completed flush.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flushed(Arc<AtomicBool>);

impl Flushed {
    pub(crate) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, is_flushed: bool) {
        self.0.store(is_flushed, Ordering::Relaxed);
    }
}

impl<I> Socket<I> {
    pub(crate) fn new(io: I, first: Bytes, is_flushed: Flushed) -> Self {
        Self {
            io,
            first,
            is_flushed,
        }
    }

    /// The connection, and the bytes that hyper has not read again.
    pub(crate) fn into_parts(self) -> (I, Bytes) {
        (self.io, self.first)
    }
}

impl<I: Read + Unpin> Read for Socket<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.first.is_empty() {
            return Pin::new(&mut this.io).poll_read(cx, buffer);
        }
        let fits = this.first.len().min(buffer.remaining());
        buffer.put_slice(&this.first[..fits]);
        this.first.advance(fits);
        if this.first.is_empty() {
            // Otherwise the memory of the bytes stays until the connection ends.
            this.first = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: Write + Unpin> Write for Socket<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.is_flushed.set(false);
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.is_flushed.set(false);
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.io).poll_flush(cx);
        self.is_flushed.set(matches!(poll, Poll::Ready(Ok(()))));
        poll
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.is_flushed.set(false);
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
