//! `HttpService`: a service that a connection can serve.

use std::error::Error as StdError;

use http::{Request, Response};
use http_body::Body;
use hyper::service::Service;

use crate::RequestBody;

pub(crate) type BoxError = Box<dyn StdError + Send + Sync>;

/// A service that a connection can serve: hyper's [`Service`] for requests with a [`RequestBody`], whose
/// responses have the body `B`.
///
/// Every such service implements it.
pub trait HttpService<B: Body>:
    Service<Request<RequestBody>, Response = Response<B>, Error: Into<BoxError>>
{
}

impl<S, B> HttpService<B> for S
where
    S: Service<Request<RequestBody>, Response = Response<B>, Error: Into<BoxError>>,
    B: Body,
{
}
