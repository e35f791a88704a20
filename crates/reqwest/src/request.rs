//! Owns `RequestBuilderExt`: a request of reqwest's as one for an event stream.

use std::error::Error as StdError;
use std::fmt;

use bytes::Bytes;
use http::header::{COOKIE, HeaderName};
use http::{HeaderValue, Method, Uri};
use tidings_client::{RequestBuilder, SseClient};

use crate::transport::ReqwestTransport;
use crate::unsendable::Unsendable;

/// `RequestBuilder::sse`.
pub trait RequestBuilderExt: Sized {
    /// This request, for an event stream: with its method, URL, headers, body and HTTP version,
    /// over its client. Nothing is sent before it is [opened](RequestBuilder::open), and what is
    /// wrong with it is told there.
    ///
    /// A body that is itself a stream cannot be sent again, and is refused by [`StreamedBody`]. The
    /// request's timeout is left out. Values of one header are sent as one line, a list.
    ///
    /// ```no_run
    /// use tidings_reqwest::RequestBuilderExt;
    ///
    /// # async fn hear(http: reqwest::Client) -> Result<(), tidings_client::Error> {
    /// let mut session = http.get("https://example.com/events").sse().open().await?;
    /// # Ok(())
    /// # }
    /// ```
    fn sse(self) -> RequestBuilder;
}

impl RequestBuilderExt for reqwest::RequestBuilder {
    fn sse(self) -> RequestBuilder {
        let (client, request) = self.build_split();
        let request = match request {
            Ok(request) => request,
            Err(error) => return unsendable(error.without_url()),
        };
        let body = match request.body().map(reqwest::Body::as_bytes) {
            Some(None) => return unsendable(StreamedBody(())),
            Some(Some(body)) => Bytes::copy_from_slice(body),
            None => Bytes::new(),
        };
        let transport = ReqwestTransport::asking_for(request.version(), client);
        let client = SseClient::over(transport);
        let mut builder = client.request(request.method().clone(), request.url().as_str());
        for name in request.headers().keys() {
            let values = request.headers().get_all(name).iter().cloned();
            if let Some(value) = values.reduce(|list, value| joined(name, &list, value)) {
                builder = builder.header(name.clone(), value);
            }
        }
        builder.body(body)
    }
}

fn unsendable(error: impl StdError + Send + Sync + 'static) -> RequestBuilder {
    SseClient::over(Unsendable::new(error)).request(Method::GET, Uri::default())
}

/// A header's values so far, and one more, in one line.
///
/// Spec: [RFC 9110, section 5.3](https://www.rfc-editor.org/rfc/rfc9110#section-5.3), and for
/// cookies [RFC 6265, section 4.2.1](https://www.rfc-editor.org/rfc/rfc6265#section-4.2.1).
fn joined(name: &HeaderName, list: &HeaderValue, value: HeaderValue) -> HeaderValue {
    let separator: &[u8] = if name == COOKIE { b"; " } else { b", " };
    let line = [list.as_bytes(), value.as_bytes()].join(separator);
    let is_sensitive = list.is_sensitive() || value.is_sensitive();
    // What two values are made of makes one.
    let mut line = HeaderValue::from_maybe_shared(Bytes::from(line)).unwrap_or(value);
    line.set_sensitive(is_sensitive);
    line
}

/// A request for an event stream has a body that is a stream itself, and cannot be sent again.
#[derive(Debug)]
pub struct StreamedBody(());

impl fmt::Display for StreamedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body is a stream, which can be sent once only: give it as bytes")
    }
}

impl StdError for StreamedBody {}
