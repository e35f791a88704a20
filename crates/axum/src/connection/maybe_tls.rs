//! `MaybeTls`: the stream of a connection, over TLS or not.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tidings_server::IoDeadline;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
#[cfg(feature = "tls")]
use tokio_rustls::server::TlsStream;

/// The stream of a connection. The deadlines are below TLS, because they must see the socket.
pub(super) enum MaybeTls<IO> {
    Plain(IoDeadline<IO>),
    /// Boxed, so that a connection without TLS takes no room for it.
    #[cfg(feature = "tls")]
    Tls(Box<TlsStream<IoDeadline<IO>>>),
}

macro_rules! delegate {
    ($this:ident, $io:ident => $call:expr) => {
        match $this {
            Self::Plain($io) => $call,
            #[cfg(feature = "tls")]
            Self::Tls($io) => $call,
        }
    };
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for MaybeTls<IO> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        delegate!(this, io => Pin::new(io).poll_read(cx, buffer))
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for MaybeTls<IO> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        delegate!(this, io => Pin::new(io).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        delegate!(this, io => Pin::new(io).poll_write_vectored(cx, bytes))
    }

    fn is_write_vectored(&self) -> bool {
        delegate!(self, io => io.is_write_vectored())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        delegate!(this, io => Pin::new(io).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        delegate!(this, io => Pin::new(io).poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    #[test]
    fn a_connection_without_tls_takes_no_room_for_it() {
        let [either, plain] = [
            size_of::<MaybeTls<TcpStream>>(),
            size_of::<IoDeadline<TcpStream>>(),
        ];
        assert_eq!(either, plain);
    }
}
