//! `Pieces`: a stream of bytes that yields a response in given pieces.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A poll more often than this waits for something that never comes.
const MAX_POLLS: usize = 100_000;

/// Yields the pieces, one a read, and then closes. It accepts everything that is written.
pub(crate) struct Pieces {
    pieces: std::vec::IntoIter<Vec<u8>>,
    /// The rest of a piece that was larger than the reader's buffer.
    rest: Vec<u8>,
    waits: bool,
}

impl Pieces {
    pub(crate) fn new(pieces: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let pieces: Vec<_> = pieces
            .into_iter()
            .filter(|piece| !piece.is_empty())
            .collect();
        Self {
            pieces: pieces.into_iter(),
            rest: Vec::new(),
            waits: false,
        }
    }

    pub(crate) fn of_length(bytes: &[u8], length: usize) -> Self {
        Self::new(bytes.chunks(length).map(<[u8]>::to_vec))
    }
}

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.rest.is_empty() {
            // Before each piece, so that nothing is read together with what follows it.
            self.waits = !self.waits;
            if self.waits {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.rest = self.pieces.next().unwrap_or_default();
        }
        let amount = self.rest.len().min(buffer.remaining());
        buffer.put_slice(&self.rest[..amount]);
        self.rest.drain(..amount);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pieces {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Polls a future that waits only for [`Pieces`].
pub(crate) fn run<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..MAX_POLLS {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
    }
    panic!("the future waits for ever");
}
