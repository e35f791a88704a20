//! `KeptTransport`: a transport whose TCP connection the next request uses again.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tidings::client::http::{Request, Uri};
use tidings::client::{ResponseFuture, Transport};
use tidings::hyper::DirectTransport;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use crate::target::Target;

/// How long one address of the server may take for a connection, so that the next one is tried in time.
const ADDRESS_TIME: Duration = Duration::from_secs(3);

/// Sends the requests to one server over its kept connection, and those that a redirect leads to another
/// server over connections of their own, with TLS and proxies.
pub(super) struct KeptTransport {
    url: Uri,
    kept: Kept,
    own: DirectTransport,
    others: DirectTransport,
}

impl KeptTransport {
    pub(super) fn new(target: &Target, kept: &Kept) -> Self {
        let kept = kept.clone();
        let own = kept.clone();
        Self {
            url: target.url.clone(),
            kept,
            own: DirectTransport::over(move |url| own.clone().connect(url)),
            others: target.transport(),
        }
    }
}

impl Transport for KeptTransport {
    fn connect(&self, request: Request<Bytes>) -> ResponseFuture {
        if server(request.uri()) == server(&self.url) {
            return self.own.connect(request);
        }
        let (kept, others) = (self.kept.clone(), self.others.clone());
        Box::pin(async move {
            // The redirect may have a body that nobody has read.
            drop(take(&kept.left));
            others.connect(request).await
        })
    }
}

/// Scheme, host and port.
fn server(url: &Uri) -> (Option<&str>, Option<&str>, Option<u16>) {
    (url.scheme_str(), url.host(), url.port_u16())
}

/// The connection of the last request, if there is one.
///
/// A request leaves its connection in `left`, however it ends. Only a request whose answer was read to its
/// end makes it ready for the next one; otherwise that one could read an answer to the request before.
#[derive(Debug, Clone, Default)]
pub(super) struct Kept {
    left: Arc<Mutex<Option<TcpStream>>>,
    ready: Arc<Mutex<Option<TcpStream>>>,
}

impl Kept {
    /// A connection for the next request: the kept one, or a new one.
    pub(super) async fn connect(self, url: Uri) -> io::Result<KeptStream> {
        let kept = take(&self.ready).filter(is_open);
        drop(take(&self.left));
        let stream = match kept {
            Some(stream) => stream,
            None => connect(&url).await?,
        };
        Ok(KeptStream {
            stream: Some(stream),
            left: self.left,
        })
    }

    /// Keeps the connection of a request whose answer was read to its end.
    pub(super) fn keep(&self) {
        let left = take(&self.left);
        *self.ready.lock().unwrap_or_else(PoisonError::into_inner) = left;
    }
}

fn take(stream: &Mutex<Option<TcpStream>>) -> Option<TcpStream> {
    stream.lock().unwrap_or_else(PoisonError::into_inner).take()
}

async fn connect(url: &Uri) -> io::Result<TcpStream> {
    let host = url.host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let mut failure = io::Error::other("the name of the server has no address");
    for address in lookup_host((host, url.port_u16().unwrap_or(80))).await? {
        match timeout(ADDRESS_TIME, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Ok(Err(error)) => failure = error,
            Err(_) => failure = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(failure)
}

/// Whether the server has neither closed it nor sent something that nobody has asked for.
fn is_open(stream: &TcpStream) -> bool {
    let read = stream.try_read(&mut [0]);
    read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// A connection that is left for the next request when it is dropped.
#[derive(Debug)]
pub(super) struct KeptStream {
    /// `None` only while it is dropped.
    stream: Option<TcpStream>,
    left: Arc<Mutex<Option<TcpStream>>>,
}

impl KeptStream {
    fn poll_stream<T>(
        &mut self,
        poll: impl FnOnce(Pin<&mut TcpStream>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match &mut self.stream {
            Some(stream) => poll(Pin::new(stream)),
            None => unreachable!("only the drop takes the stream"),
        }
    }
}

impl AsyncRead for KeptStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.get_mut()
            .poll_stream(|stream| stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for KeptStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut()
            .poll_stream(|stream| stream.poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_stream(|stream| stream.poll_flush(cx))
    }

    /// The end of one request is not the end of the connection.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for KeptStream {
    fn drop(&mut self) {
        let stream = self.stream.take();
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) = stream;
    }
}
