//! The beginning of a connection, which shows the version that its client speaks: HTTP/1.1 or HTTP/2.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper_util::rt::TokioIo;
use tidings_server::IoDeadline;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::maybe_tls::MaybeTls;
use super::rewound::Rewound;
use super::{Connection, LONGEST_DEADLINE, Routes};

/// The first bytes of a client that speaks HTTP/2.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    Http1,
    Http2,
}

/// A connection whose client has not sent enough to know its version.
pub(super) struct Beginning<IO, A> {
    stream: IoDeadline<IO>,
    routes: Routes<A>,
    /// The bytes read so far, a part of the preface.
    first: Vec<u8>,
    timer: Pin<Box<Sleep>>,
    is_limited: bool,
}

impl<IO, A> Beginning<IO, A>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Clone + Send + Sync + 'static,
{
    pub(super) fn new(stream: IoDeadline<IO>, routes: Routes<A>) -> Self {
        // hyper has the same limit over HTTP/1.1, but it starts only when the version is known.
        let limit = routes.connections.read_limit();
        Self {
            stream,
            routes,
            first: Vec::new(),
            timer: Box::pin(sleep(limit.unwrap_or(LONGEST_DEADLINE))),
            is_limited: limit.is_some(),
        }
    }

    /// Ready when the version is known.
    pub(super) fn poll_version(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Version>> {
        loop {
            if !PREFACE.starts_with(&self.first) {
                return Poll::Ready(Ok(Version::Http1));
            }
            if self.first.len() == PREFACE.len() {
                return Poll::Ready(Ok(Version::Http2));
            }
            let mut buffer = [0; PREFACE.len()];
            let mut buffer = ReadBuf::new(&mut buffer[self.first.len()..]);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                Poll::Ready(read) => read?,
                Poll::Pending => {
                    ready!(self.timer.as_mut().poll(cx));
                    if !self.is_limited {
                        return Poll::Pending;
                    }
                    let message = "the client sent no request";
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, message)));
                }
            }
            if buffer.filled().is_empty() {
                // A client that has left. hyper answers a part of a request, or closes.
                return Poll::Ready(Ok(Version::Http1));
            }
            self.first.extend_from_slice(buffer.filled());
        }
    }

    /// The same connection, from its first byte on.
    pub(super) fn speak(self, version: Version) -> Connection<IO, A> {
        let stream = Rewound::new(self.first, MaybeTls::Plain(self.stream));
        match version {
            Version::Http1 => Connection::http1_over(TokioIo::new(stream), self.routes),
            Version::Http2 => Connection::http2(stream, self.routes, self.timer),
        }
    }
}
