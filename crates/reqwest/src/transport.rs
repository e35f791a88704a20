//! `ReqwestTransport`: sends the requests of a session through a `reqwest::Client`.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::BodyExt as _;
use tidings_client::{ConnectError, FinalUrl, IntoUrl, ResponseBody, ResponseFuture, Transport};

use crate::error::without_urls;

/// The timeout of each request. reqwest's timeout limits a whole response, and would cut every
/// stream. A client's timeout cannot be unset, but a request's timeout replaces it.
const FOR_EVER: Duration = Duration::MAX;

/// A `reqwest::Client` as a transport. [`transport`] makes one.
#[derive(Clone)]
pub struct ReqwestTransport {
    client: reqwest::Client,
    /// The HTTP version of each request.
    version: Version,
    /// Whether the client may have a timeout, which would cut streams.
    may_time_out: bool,
}

/// This client as a transport. The [front page](crate) describes how the client's settings affect
/// its sessions.
///
/// ```
/// use tidings_client::SseClient;
///
/// # fn client() -> Result<SseClient, reqwest::Error> {
/// let http = reqwest::Client::builder().build()?;
/// let client = SseClient::over(tidings_reqwest::transport(http));
/// # Ok(client)
/// # }
/// ```
#[must_use]
pub fn transport(client: reqwest::Client) -> ReqwestTransport {
    ReqwestTransport::with_version(Version::default(), client)
}

impl ReqwestTransport {
    pub(crate) fn with_version(version: Version, client: reqwest::Client) -> Self {
        Self {
            client,
            version,
            may_time_out: true,
        }
    }

    /// Over a client without a timeout. Requests then need none either, which saves work: reqwest
    /// checks a timeout with each chunk.
    pub(crate) fn without_timeout(client: reqwest::Client) -> Self {
        Self {
            may_time_out: false,
            ..Self::with_version(Version::default(), client)
        }
    }

    fn request(&self, request: Request<Bytes>) -> Result<reqwest::Request, reqwest::Error> {
        let (head, body) = request.into_parts();
        let request = self.client.request(head.method, head.uri.to_string());
        // These replace the `Authorization` that reqwest makes of a user in the URL.
        let request = request.headers(head.headers).body(body);
        let request = request.version(self.version);
        if self.may_time_out {
            return request.timeout(FOR_EVER).build();
        }
        request.build()
    }
}

impl Transport for ReqwestTransport {
    fn connect(&self, request: Request<Bytes>) -> ResponseFuture {
        let client = self.client.clone();
        let request = self.request(request);
        Box::pin(async move {
            match request {
                Ok(request) => send(&client, request).await,
                Err(error) => Err(ConnectError::InvalidRequest(without_urls(error))),
            }
        })
    }
}

async fn send(
    client: &reqwest::Client,
    request: reqwest::Request,
) -> Result<Response<ResponseBody>, ConnectError> {
    let url = request.url().clone();
    let response = match client.execute(request).await {
        Ok(response) => response,
        // Another URL in the error comes from a redirect, so the server caused the error.
        Err(error) if error.is_builder() && error.url().is_none_or(|at| *at == url) => {
            return Err(ConnectError::InvalidRequest(without_urls(error)));
        }
        Err(error) => return Err(ConnectError::Network(without_urls(error))),
    };
    let is_redirected = *response.url() != url;
    let final_url = is_redirected.then(|| response.url().as_str().into_url());
    let mut response = Response::<reqwest::Body>::from(response);
    if let Some(Ok(url)) = final_url {
        response.extensions_mut().insert(FinalUrl(url));
    }
    Ok(response.map(|body| ResponseBody::new(body.map_err(without_urls))))
}

// Without the client, which would show its default headers and the tokens among them.
impl fmt::Debug for ReqwestTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReqwestTransport").finish_non_exhaustive()
    }
}
