//! `Writer`: the write side of a stream: batches that are written and flushed.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use hyper::rt::Write;

use crate::batch::Batch;

/// The write side of a stream. A stream that waits for its next frame holds no buffer here.
#[derive(Debug)]
pub(crate) struct Writer<D> {
    /// The rest of a batch that the connection did not accept.
    unwritten: Option<Box<Batch<D>>>,
    /// Bytes were written since the last flush.
    needs_flush: bool,
}

impl<D: Buf> Writer<D> {
    pub(crate) fn new() -> Self {
        Self {
            unwritten: None,
            needs_flush: false,
        }
    }

    /// Writes as much of this batch as the connection accepts, and holds the rest. Only called when
    /// [`poll_sent`](Self::poll_sent) was ready.
    pub(crate) fn write<I: Write + Unpin>(
        &mut self,
        mut batch: Batch<D>,
        io: &mut I,
        cx: &mut Context<'_>,
    ) -> io::Result<()> {
        assert!(self.unwritten.is_none(), "batches are written in order");
        self.needs_flush |= !batch.is_empty();
        match batch.poll_write(io, cx) {
            Poll::Ready(written) => {
                batch.recycle();
                written
            }
            Poll::Pending => {
                self.unwritten = Some(Box::new(batch.into_unwritten()));
                Ok(())
            }
        }
    }

    /// Ready when everything was written and flushed.
    pub(crate) fn poll_sent<I: Write + Unpin>(
        &mut self,
        io: &mut I,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(batch) = &mut self.unwritten {
            ready!(batch.poll_write(io, cx))?;
            self.unwritten = None;
        }
        if self.needs_flush {
            ready!(Pin::new(io).poll_flush(cx))?;
            self.needs_flush = false;
        }
        Poll::Ready(Ok(()))
    }
}
