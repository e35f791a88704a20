//! `Wire`: a connection that can be broken, in memory or over a socket.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::net::TcpStream;

/// The capacity of a pipe in each direction.
const PIPE_BYTES: usize = 64 * 1024;

pub(super) trait Wire: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Breaks the connection: the client reads an error and not the end.
    fn reset(&mut self) -> io::Result<()>;
}

impl Wire for TcpStream {
    fn reset(&mut self) -> io::Result<()> {
        self.set_zero_linger()?;
        Err(io::ErrorKind::ConnectionReset.into())
    }
}

/// The client's end of a connection in memory.
#[derive(Debug)]
pub struct Pipe {
    stream: DuplexStream,
    broken: Arc<AtomicBool>,
}

pub(super) struct PipeServer {
    stream: DuplexStream,
    broken: Arc<AtomicBool>,
}

pub(super) fn pipe() -> (Pipe, PipeServer) {
    let (client, server) = duplex(PIPE_BYTES);
    let broken = Arc::new(AtomicBool::new(false));
    let pipe = Pipe {
        stream: client,
        broken: Arc::clone(&broken),
    };
    let server = PipeServer {
        stream: server,
        broken,
    };
    (pipe, server)
}

impl Wire for PipeServer {
    fn reset(&mut self) -> io::Result<()> {
        self.broken.store(true, Ordering::SeqCst);
        Err(io::ErrorKind::ConnectionReset.into())
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
        let is_end = buffer.filled().len() == before && buffer.remaining() > 0;
        if is_end && this.broken.load(Ordering::SeqCst) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for PipeServer {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buffer)
    }
}

macro_rules! writes_to_its_stream {
    ($pipe:ty) => {
        impl AsyncWrite for $pipe {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.get_mut().stream).poll_flush(cx)
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
            }
        }
    };
}

writes_to_its_stream!(Pipe);
writes_to_its_stream!(PipeServer);
