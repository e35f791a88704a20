//! Owns `Transport`: how a client reaches a server.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};
use pin_project_lite::pin_project;

/// Any error of a transport.
pub type TransportError = Box<dyn StdError + Send + Sync>;

/// A request on its way: resolves with the head of the response.
pub type Connecting =
    Pin<Box<dyn Future<Output = Result<http::Response<ResponseBody>, ConnectError>> + Send>>;

/// Why a transport did not bring back a response.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// The network failed: another attempt may succeed.
    Network(TransportError),
    /// The transport cannot send such a request: no attempt will succeed.
    InvalidRequest(TransportError),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Network(_) => "the connection to the server failed",
            Self::InvalidRequest(_) => "the transport cannot send such a request",
        })
    }
}

impl StdError for ConnectError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        let (Self::Network(source) | Self::InvalidRequest(source)) = self;
        Some(source.as_ref())
    }
}

/// Where a transport that follows redirects ended: set by it among the extensions of the response.
/// The session goes on from there, and its credentials stay where the caller named them.
#[derive(Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "it is a URL and nothing else")]
pub struct FinalUrl(pub http::Uri);

// Not the URL, whose query may hold secrets.
impl fmt::Debug for FinalUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FinalUrl")
    }
}

/// How long a connection may take to be made: set among the extensions of a request by
/// [`connect_timeout`](crate::SseClient::connect_timeout), obeyed by transports that connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "it is a time and nothing else")]
pub struct ConnectTimeout(pub std::time::Duration);

/// How a client reaches a server.
///
/// Every connection of a session is one call, with a request made anew. Dropping the future, or
/// the body it resolves with, closes the connection. A redirect is a response as any other: the
/// session follows it; a transport that does so itself says where it came to by [`FinalUrl`].
///
/// A [`tower_service::Service`] of `http` types is a transport: an `axum::Router` in process, or a client in
/// layers of tower.
pub trait Transport: Send + Sync + 'static {
    /// Sends the request over a new connection.
    ///
    /// What the server answers, whatever its status, is no error. The text of an error is traced,
    /// so it names no URL and no header.
    fn connect(&self, request: http::Request<Bytes>) -> Connecting;
}

/// The body of a response, whatever transport it comes from.
pub struct ResponseBody(Pin<Box<dyn Body<Data = Bytes, Error = TransportError> + Send>>);

impl ResponseBody {
    /// A body of any kind.
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
