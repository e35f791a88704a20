//! `Unsendable`: the transport of a request or a client that reqwest could not build.

use std::error::Error as StdError;
use std::future::ready;
use std::sync::Arc;

use bytes::Bytes;
use tidings_client::{ConnectError, ResponseFuture, Transport};

/// Sends nothing, and fails each request with this error.
pub(crate) struct Unsendable<E>(Arc<E>);

impl<E> Unsendable<E> {
    pub(crate) fn new(error: E) -> Self {
        Self(Arc::new(error))
    }
}

impl<E: StdError + Send + Sync + 'static> Transport for Unsendable<E> {
    fn connect(&self, _: http::Request<Bytes>) -> ResponseFuture {
        let error = Arc::clone(&self.0);
        Box::pin(ready(Err(ConnectError::InvalidRequest(error.into()))))
    }
}
