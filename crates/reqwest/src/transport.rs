//! Owns `ReqwestTransport`: a session's request as one of reqwest's, and the response back.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::BodyExt as _;
use tidings_client::{ConnectError, Connecting, FinalUrl, IntoUrl, ResponseBody, Transport};

use crate::error::without_urls;

/// The timeout of each request. reqwest's is for the whole of a response, and would cut every
/// stream; that of a client cannot be unset, but that of a request goes before it.
const FOR_EVER: Duration = Duration::MAX;

/// A `reqwest::Client` as a transport; made by [`transport`].
#[derive(Clone)]
pub struct ReqwestTransport {
    client: reqwest::Client,
    /// Of every request.
    version: Version,
    /// Whether the client may have a timeout that would cut streams.
    may_time_out: bool,
}

/// This client as a transport. What it does by itself is told on the [front page](crate).
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
    ReqwestTransport::asking_for(Version::default(), client)
}

impl ReqwestTransport {
    pub(crate) fn asking_for(version: Version, client: reqwest::Client) -> Self {
        Self {
            client,
            version,
            may_time_out: true,
        }
    }

    /// Over a client that has no timeout: reqwest looks at one, however long, with every chunk.
    pub(crate) fn without_timeout(client: reqwest::Client) -> Self {
        Self {
            may_time_out: false,
            ..Self::asking_for(Version::default(), client)
        }
    }

    fn request(&self, request: Request<Bytes>) -> Result<reqwest::Request, reqwest::Error> {
        let (head, body) = request.into_parts();
        let request = self.client.request(head.method, head.uri.to_string());
        // These replace what reqwest has made of the URL, an `Authorization`.
        let request = request.headers(head.headers).body(body);
        let request = request.version(self.version);
        if self.may_time_out {
            return request.timeout(FOR_EVER).build();
        }
        request.build()
    }
}

impl Transport for ReqwestTransport {
    fn connect(&self, request: Request<Bytes>) -> Connecting {
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
        // Another URL in the error is that of a redirect: a server's doing.
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

// Not the client, which shows its default headers, and tokens among them.
impl fmt::Debug for ReqwestTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReqwestTransport").finish_non_exhaustive()
    }
}
