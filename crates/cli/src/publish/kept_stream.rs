//! `KeptTransport`: a transport whose connection the next request uses again, over TLS too.

use std::future::ready;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use tidings::client::http::{Request, Uri};
use tidings::client::{ConnectError, ResponseFuture, Transport};
use tidings::hyper::DirectTransport;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use crate::direct::Direct;
use crate::target::Target;

/// How long one address of the server may take for a connection, so that the next one is tried in time.
const ADDRESS_TIME: Duration = Duration::from_secs(3);

/// How long a connection over TLS may take in total. The addresses share it: so three of them have
/// [`ADDRESS_TIME`] each, and the attempt fails before its own time is over.
const OPEN_TIME: Duration = ADDRESS_TIME.saturating_mul(3);

/// Sends the requests to one server over its kept connection, and those that a redirect leads to another
/// server over connections of their own.
pub(super) struct KeptTransport {
    url: Uri,
    is_plain: bool,
    kept: Kept,
    direct: Direct,
}

impl KeptTransport {
    pub(super) fn new(target: &Target, kept: &Kept) -> Self {
        Self {
            url: target.url.clone(),
            is_plain: target.is_plain_tcp(),
            kept: kept.clone(),
            direct: target.transport(),
        }
    }
}

impl Transport for KeptTransport {
    fn connect(&self, request: Request<Bytes>) -> ResponseFuture {
        let is_own = server(request.uri()) == server(&self.url);
        let (is_plain, kept, direct) = (self.is_plain, self.kept.clone(), self.direct.clone());
        Box::pin(async move {
            if !is_own {
                // The answer of the other server does not decide whether this server accepts another request.
                drop(take(&kept.left));
                return direct.connect(request).await;
            }
            let stream = match kept.take_open() {
                Some(stream) => stream,
                None if is_plain => open_tcp(request.uri()).await?,
                None => Box::new(direct.open_stream(request.uri(), OPEN_TIME).await?),
            };
            let stream = Mutex::new(Some(kept.leaving(stream)));
            let once = DirectTransport::over(move |_| {
                let stream = take(&stream);
                ready(stream.ok_or_else(|| io::Error::other("one request is sent once")))
            });
            once.connect(request).await
        })
    }
}

/// Scheme, host and port.
fn server(url: &Uri) -> (Option<&str>, Option<&str>, Option<u16>) {
    (url.scheme_str(), url.host(), url.port_u16())
}

/// A stream of bytes to the server, with or without TLS.
trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<IO: AsyncRead + AsyncWrite + Send + Unpin> Connection for IO {}

/// The connection of the last request, if there is one.
///
/// A request leaves its connection in `left` only if it was sent to its end, and its answer was read to its
/// end. Otherwise the server would take the next request for the rest of this one, or the next request would
/// receive the rest of this answer. [`keep`](Self::keep) makes it ready if the server accepts another
/// request.
#[derive(Clone, Default)]
pub(super) struct Kept {
    left: Arc<Mutex<Option<Box<dyn Connection>>>>,
    ready: Arc<Mutex<Option<Box<dyn Connection>>>>,
}

impl Kept {
    /// The kept connection, if it can be used for the next request.
    fn take_open(&self) -> Option<Box<dyn Connection>> {
        drop(take(&self.left));
        let mut kept = take(&self.ready)?;
        is_open(&mut kept).then_some(kept)
    }

    /// This connection, which is left for the next request after a whole exchange.
    fn leaving(self, stream: Box<dyn Connection>) -> KeptStream {
        KeptStream {
            stream: Some(stream),
            left: self.left,
        }
    }

    /// Keeps the connection for the next request, unless the exchange on it is incomplete.
    pub(super) fn keep(&self) {
        put(&self.ready, take(&self.left));
    }
}

fn take<T>(place: &Mutex<Option<T>>) -> Option<T> {
    place.lock().unwrap_or_else(PoisonError::into_inner).take()
}

fn put<T>(place: &Mutex<Option<T>>, content: Option<T>) {
    *place.lock().unwrap_or_else(PoisonError::into_inner) = content;
}

async fn open_tcp(url: &Uri) -> Result<Box<dyn Connection>, ConnectError> {
    let opened = connect(url).await;
    let stream = opened.map_err(|error| ConnectError::Network(error.into()))?;
    Ok(Box::new(stream))
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

/// Whether the server has neither closed it nor sent something that nobody has asked for. Over TLS, it may
/// have sent something for the connection itself, which this reads.
fn is_open(stream: &mut Box<dyn Connection>) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    let mut byte = [0];
    let read = Pin::new(stream).poll_read(&mut cx, &mut ReadBuf::new(&mut byte));
    read.is_pending()
}

/// A connection that is left for the next request when it is shut down. A drop before that closes it.
struct KeptStream {
    /// `None` after it was shut down.
    stream: Option<Box<dyn Connection>>,
    left: Arc<Mutex<Option<Box<dyn Connection>>>>,
}

impl KeptStream {
    fn poll_stream<T>(
        &mut self,
        poll: impl FnOnce(Pin<&mut Box<dyn Connection>>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match &mut self.stream {
            Some(stream) => poll(Pin::new(stream)),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
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

    /// The transport calls it after a whole exchange, which is not the end of the connection.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(stream) = this.stream.take() {
            put(&this.left, Some(stream));
        }
        Poll::Ready(Ok(()))
    }
}
