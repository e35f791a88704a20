//! `Transport`: how a client reaches a server.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};
use pin_project_lite::pin_project;

/// How a client reaches a server.
///
/// A session calls [`connect`](Self::connect) once for each request, redirects included. Dropping the
/// future, or the body in its response, closes the connection. A redirect is a response like any
/// other, and the session follows it; a transport that follows redirects itself reports the last
/// URL by [`FinalUrl`].
///
/// A [`tower_service::Service`] of `http` types, such as an `axum::Router` in the same process, is
/// made a transport by [`SseClient::over_service`](crate::SseClient::over_service).
///
/// ```
/// use bytes::Bytes;
/// use tidings_client::{ConnectError, ResponseBody, ResponseFuture, SseClient, Transport, http};
///
/// /// A server that is always down, for a test.
/// struct Down;
///
/// impl Transport for Down {
///     fn connect(&self, _: http::Request<Bytes>) -> ResponseFuture {
///         Box::pin(async { Err(ConnectError::Network("connection refused".into())) })
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let client = SseClient::over(Down);
/// let error = client.get("http://localhost/events").open().await.unwrap_err();
/// assert!(error.is_connect());
/// assert_eq!(error.to_string(), "could not connect to localhost:80");
/// # }
/// ```
pub trait Transport: Send + Sync + 'static {
    /// Sends the request over a new connection.
    ///
    /// Any response of the server is `Ok`, whatever its status. The text of an error is traced, so
    /// it must name no path, query or header. A timeout is an [`std::io::Error`] of the kind
    /// [`TimedOut`](std::io::ErrorKind::TimedOut) among the sources.
    fn connect(&self, request: http::Request<Bytes>) -> ResponseFuture;
}

impl<T: Transport + ?Sized> Transport for Arc<T> {
    fn connect(&self, request: http::Request<Bytes>) -> ResponseFuture {
        (**self).connect(request)
    }
}

impl<T: Transport + ?Sized> Transport for Box<T> {
    fn connect(&self, request: http::Request<Bytes>) -> ResponseFuture {
        (**self).connect(request)
    }
}

/// The response to a request, once its head has arrived.
pub type ResponseFuture =
    Pin<Box<dyn Future<Output = Result<http::Response<ResponseBody>, ConnectError>> + Send>>;

/// Any error of a transport.
pub type TransportError = Box<dyn StdError + Send + Sync>;

/// Why a transport returned no response.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// The network failed. Another attempt may succeed.
    Network(TransportError),
    /// The transport cannot send this request. No attempt will succeed.
    InvalidRequest(TransportError),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Network(_) => "the connection to the server failed",
            Self::InvalidRequest(_) => "the transport cannot send this request",
        })
    }
}

impl StdError for ConnectError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        let (Self::Network(source) | Self::InvalidRequest(source)) = self;
        Some(source.as_ref())
    }
}

/// The URL that a response came from, set among its extensions by a transport that follows redirects
/// itself. The session reconnects there; its credentials stay with the origin that you named.
#[derive(Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "it is a URL and nothing else")]
pub struct FinalUrl(pub http::Uri);

// Does not show the URL, whose query may hold secrets.
impl fmt::Debug for FinalUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FinalUrl")
    }
}

/// The longest time in which a connection must be made, set among the extensions of a request by
/// [`connect_timeout`](crate::SseClient::connect_timeout). A transport that makes connections must
/// obey it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "it is a time and nothing else")]
pub struct ConnectTimeout(pub std::time::Duration);

/// The body of a response, from any transport.
pub struct ResponseBody(Pin<Box<dyn Body<Data = Bytes, Error = TransportError> + Send>>);

impl ResponseBody {
    /// Wraps any body.
    pub fn new<B>(body: B) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<TransportError>,
    {
        Self(Box::pin(ErasedError { body }))
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = TransportError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, TransportError>>> {
        self.get_mut().0.as_mut().poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseBody")
    }
}

pin_project! {
    /// A body whose errors are boxed.
    struct ErasedError<B> {
        #[pin]
        body: B,
    }
}

impl<B> Body for ErasedError<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<TransportError>,
{
    type Data = Bytes;
    type Error = TransportError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, TransportError>>> {
        let frame = self.project().body.poll_frame(cx);
        frame.map(|frame| frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}
