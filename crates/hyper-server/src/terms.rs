//! `Terms`: the parts of a request that decide how its stream is written; and which exchanges leave hyper.

use http::header::{CONNECTION, CONTENT_LENGTH, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version};
use http_body::Body;
use hyper::ext::ReasonPhrase;
use tidings_server::StreamResponse;

/// The parts of a request that decide how its stream is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) version: HttpVersion,
    /// The client keeps the connection for further requests.
    pub(crate) keeps_alive: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HttpVersion {
    Http10,
    Http11,
}

impl Terms {
    /// `None` if hyper writes any answer to this request.
    ///
    /// A request with `Transfer-Encoding` stays with hyper: if it also had a `Content-Length`, the connection
    /// must close after the response, and hyper removes that header before the service sees it.
    pub(crate) fn of(request: &Parts) -> Option<Self> {
        let version = match request.version {
            Version::HTTP_10 => HttpVersion::Http10,
            Version::HTTP_11 => HttpVersion::Http11,
            _ => return None,
        };
        let is_special = matches!(request.method, Method::HEAD | Method::CONNECT);
        if is_special || request.headers.contains_key(TRANSFER_ENCODING) {
            return None;
        }
        let connection = |option| has_connection_option(&request.headers, option);
        let keeps_alive =
            !connection("close") && (version == HttpVersion::Http11 || connection("keep-alive"));
        Some(Self {
            version,
            keeps_alive,
        })
    }
}

/// Whether this response is a stream that can leave hyper.
///
/// hyper writes the others: those with a length, a transfer coding or trailers, those that end the use of
/// HTTP, and those with a first line of their own.
pub(crate) fn is_open_stream<B: Body>(response: &Response<B>) -> bool {
    let headers = response.headers();
    let extensions = response.extensions();
    let body = response.body();
    extensions.get::<StreamResponse>().is_some()
        && extensions.get::<ReasonPhrase>().is_none()
        && response.status() == StatusCode::OK
        && response.version() == Version::HTTP_11
        && ![CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE, TRAILER]
            .iter()
            .any(|name| headers.contains_key(name))
        && !body.is_end_stream()
        && body.size_hint().exact().is_none()
}

/// Whether a `Connection` header of this message has this option.
pub(crate) fn has_connection_option(headers: &HeaderMap, option: &str) -> bool {
    let values = headers.get_all(CONNECTION).iter();
    values.into_iter().any(|value| names(value, option))
}

/// Reads a value as hyper does: one with bytes outside of visible ASCII has no options.
fn names(value: &HeaderValue, option: &str) -> bool {
    value.to_str().is_ok_and(|text| {
        let mut options = text.split(',').map(str::trim);
        options.any(|found| found.eq_ignore_ascii_case(option))
    })
}
