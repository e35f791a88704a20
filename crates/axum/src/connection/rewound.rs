//! `Rewound`: a connection whose first bytes are read again.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection whose first bytes were read, and are read again.
#[derive(Debug)]
pub(super) struct Rewound<IO> {
    /// Empty after they were read again.
    first: Box<[u8]>,
    io: IO,
}

impl<IO> Rewound<IO> {
    pub(super) fn new(first: Vec<u8>, io: IO) -> Self {
        Self {
            first: first.into_boxed_slice(),
            io,
        }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Rewound<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.first.is_empty() {
            return Pin::new(&mut this.io).poll_read(cx, buffer);
        }
        let fits = this.first.len().min(buffer.remaining());
        buffer.put_slice(&this.first[..fits]);
        this.first = this.first[fits..].into();
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Rewound<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn the_first_bytes_come_first_in_reads_of_any_size() {
        for size in 1..10 {
            let (mut near, far) = duplex(100);
            near.write_all(b"456").await.unwrap();
            drop(near);
            let mut rewound = Rewound::new(b"123".to_vec(), far);
            let mut read = Vec::new();
            let mut buffer = vec![0; size];
            while let Ok(count @ 1..) = rewound.read(&mut buffer).await {
                read.extend_from_slice(&buffer[..count]);
            }
            assert_eq!(read, b"123456", "{size}");
        }
    }
}
