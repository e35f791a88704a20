//! `RequestBuilderExt`: turns a request of reqwest into a request for an event stream.

use std::error::Error as StdError;
use std::fmt;

use bytes::Bytes;
use http::header::{COOKIE, HeaderName};
use http::{HeaderValue, Method, Uri};
use tidings_client::{RequestBuilder, SseClient};

use crate::transport::ReqwestTransport;
use crate::unsendable::Unsendable;

/// `reqwest::RequestBuilder::sse`. Sealed: only reqwest's `RequestBuilder` implements it.
pub trait RequestBuilderExt: sealed::Sealed {
    /// Turns this request into a request for an event stream.
    ///
    /// It keeps the method, URL, headers, body, HTTP version and client of this request, but not
    /// its timeout. Several values of one header are sent as one line, a list. Nothing is sent, and
    /// no error is reported, before you [open](RequestBuilder::open) it.
    ///
    /// A session may send its request again. A body that is itself a stream cannot be sent again:
    /// `open` then fails with [`StreamedBody`] as the source of its error.
    ///
    /// ```no_run
    /// use tidings_reqwest::RequestBuilderExt;
    ///
    /// # async fn read(http: reqwest::Client) -> Result<(), tidings_reqwest::Error> {
    /// let mut session = http.get("https://example.com/events").sse().open().await?;
    /// # Ok(())
    /// # }
    /// ```
    fn sse(self) -> RequestBuilder;
}

mod sealed {
    #[allow(unnameable_types, reason = "so no other crate can implement it")]
    pub trait Sealed: Sized {}

    impl Sealed for reqwest::RequestBuilder {}
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
        let transport = ReqwestTransport::with_version(request.version(), client);
        let client = SseClient::over(transport);
        let mut builder = client.request(request.method().clone(), request.url().as_str());
        for name in request.headers().keys() {
            let values = request.headers().get_all(name).iter().cloned();
            if let Some(value) = values.reduce(|list, value| joined(name, &list, &value)) {
                builder = builder.header(name.clone(), value);
            }
        }
        builder.body(body)
    }
}

fn unsendable(error: impl StdError + Send + Sync + 'static) -> RequestBuilder {
    SseClient::over(Unsendable::new(error)).request(Method::GET, Uri::default())
}

/// A list of a header's values with one more value, in one line.
///
/// Spec: [RFC 9110, section 5.3](https://www.rfc-editor.org/rfc/rfc9110#section-5.3), and for
/// cookies [RFC 6265, section 4.2.1](https://www.rfc-editor.org/rfc/rfc6265#section-4.2.1).
fn joined(name: &HeaderName, list: &HeaderValue, value: &HeaderValue) -> HeaderValue {
    let separator: &[u8] = if name == COOKIE { b"; " } else { b", " };
    let line = [list.as_bytes(), value.as_bytes()].join(separator);
    let is_sensitive = list.is_sensitive() || value.is_sensitive();
    let Ok(mut line) = HeaderValue::from_maybe_shared(Bytes::from(line)) else {
        unreachable!("two valid values and a separator are a valid value");
    };
    line.set_sensitive(is_sensitive);
    line
}

/// The error for a request whose body is a stream, and so cannot be sent again.
#[derive(Debug)]
pub struct StreamedBody(());

impl fmt::Display for StreamedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body is a stream, which can be sent only once: pass it as bytes")
    }
}

impl StdError for StreamedBody {}
