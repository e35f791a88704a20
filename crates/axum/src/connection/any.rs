//! A connection that speaks the version its client begins with: HTTP/1.1 or HTTP/2.

use std::future::Future;
use std::io;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::BoxError;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tidings_server::IoDeadline;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::http2::Http2Connection;
use super::rewound::Rewound;
use super::{LONGEST_DEADLINE, Routes, http1_builder};

/// The first bytes of a client that speaks HTTP/2.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

type Http1<IO, A> = http1::UpgradeableConnection<TokioIo<Rewound<IoDeadline<IO>>>, Routes<A>>;

pub(super) enum AnyConnection<IO, A>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Clone + Send + Sync + 'static,
{
    Beginning(Box<Beginning<IO, A>>),
    Http1(Box<Http1<IO, A>>),
    Http2(Box<Http2Connection<IO, A>>),
    /// Closed before its client had sent a version.
    Closed,
}

impl<IO, A> AnyConnection<IO, A>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Clone + Send + Sync + 'static,
{
    pub(super) fn new(stream: IoDeadline<IO>, routes: Routes<A>) -> Self {
        // hyper has the same limit over HTTP/1.1, but it starts only when the version is known.
        let limit = routes.connections.read_limit();
        let timer = Box::pin(sleep(limit.unwrap_or(LONGEST_DEADLINE)));
        Self::Beginning(Box::new(Beginning {
            stream,
            routes,
            first: Vec::new(),
            timer,
            is_limited: limit.is_some(),
        }))
    }

    pub(super) fn graceful_shutdown(&mut self) {
        match self {
            Self::Beginning(_) => *self = Self::Closed,
            Self::Http1(connection) => Pin::new(&mut **connection).graceful_shutdown(),
            Self::Http2(connection) => connection.graceful_shutdown(),
            Self::Closed => {}
        }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        loop {
            let version = match self {
                Self::Beginning(beginning) => ready!(beginning.poll_version(cx))?,
                Self::Http1(connection) => {
                    return Pin::new(&mut **connection).poll(cx).map_err(Into::into);
                }
                Self::Http2(connection) => return connection.poll(cx),
                Self::Closed => return Poll::Ready(Ok(())),
            };
            let Self::Beginning(beginning) = mem::replace(self, Self::Closed) else {
                unreachable!("only a beginning has a version to find");
            };
            *self = beginning.speak(version);
        }
    }
}

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
    fn poll_version(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Version>> {
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

    fn speak(self, version: Version) -> AnyConnection<IO, A> {
        let stream = Rewound::new(self.first, self.stream);
        match version {
            Version::Http1 => {
                let builder = http1_builder(&self.routes.connections);
                let connection = builder.serve_connection(TokioIo::new(stream), self.routes);
                AnyConnection::Http1(Box::new(connection.with_upgrades()))
            }
            Version::Http2 => {
                let connection = Http2Connection::new(stream, self.routes, self.timer);
                AnyConnection::Http2(Box::new(connection))
            }
        }
    }
}
