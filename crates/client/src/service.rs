//! `ServiceTransport`: a tower `Service` of `http` types as a transport.

use std::convert::Infallible;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use tower_service::Service;

use crate::transport::{ConnectError, ResponseBody, ResponseFuture, Transport, TransportError};

/// The body of a request to a [`Service`]: all its bytes in one frame.
#[derive(Clone, Default)]
pub struct RequestBody(Bytes);

// Shows only the length: the body may hold secrets.
impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestBody({} bytes)", self.0.len())
    }
}

impl From<Bytes> for RequestBody {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = std::mem::take(&mut self.0);
        Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
}

/// A [`Service`] of `http` types as a [`Transport`], by
/// [`SseClient::over_service`](crate::SseClient::over_service).
///
/// An error of the service counts as a network error: another attempt may succeed.
#[derive(Clone)]
pub struct ServiceTransport<S>(S);

impl<S> ServiceTransport<S> {
    /// Wraps this service.
    pub fn new(service: S) -> Self {
        Self(service)
    }
}

impl<S, B> Transport for ServiceTransport<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Future: Send,
    S::Error: Into<TransportError>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<TransportError>,
{
    fn connect(&self, request: Request<Bytes>) -> ResponseFuture {
        let mut service = self.0.clone();
        Box::pin(async move {
            let response = async {
                poll_fn(|cx| service.poll_ready(cx)).await?;
                service.call(request.map(RequestBody)).await
            };
            match response.await {
                Ok(response) => Ok(response.map(ResponseBody::new)),
                Err(error) => Err(ConnectError::Network(error.into())),
            }
        })
    }
}

// Does not show the service, which may hold secrets.
impl<S> fmt::Debug for ServiceTransport<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceTransport").finish_non_exhaustive()
    }
}
