//! Content codings: which ones a request accepts, and which ones of a response are decoded.

#[cfg(feature = "compression")]
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH};
use http::{HeaderMap, Response};
#[cfg(feature = "compression")]
use http::{HeaderValue, response::Parts};
#[cfg(feature = "compression")]
use http_body::Body as _;
use tidings_client::ResponseBody;
#[cfg(feature = "compression")]
use tidings_proto::headers::content_codings;

#[cfg(feature = "compression")]
use crate::decode::{Codec, DecodedBody};

/// The codings that a request accepts, without a preference.
#[cfg(feature = "compression")]
const CODINGS: HeaderValue = HeaderValue::from_static("gzip, br, zstd");

/// The most codings of one body that are decoded, one after the other: each has a window of up to
/// 16 MiB. A body that two servers have encoded has two.
#[cfg(feature = "compression")]
const MAX_CODINGS: usize = 2;

/// Accepts the codings that can be decoded, unless the caller sets `Accept-Encoding`.
#[cfg(feature = "compression")]
pub(crate) fn accept(headers: &mut HeaderMap) {
    headers.entry(ACCEPT_ENCODING).or_insert(CODINGS);
}

#[cfg(not(feature = "compression"))]
pub(crate) fn accept(_: &mut HeaderMap) {}

/// Decodes the body, and removes the decoded codings from the head. The client refuses a stream in
/// another coding, and reads the body of a refusal as it is.
#[cfg(feature = "compression")]
pub(crate) fn decode(response: Response<ResponseBody>) -> Response<ResponseBody> {
    // The common case.
    if !response.headers().contains_key(CONTENT_ENCODING) {
        return response;
    }
    let (mut head, mut body) = response.into_parts();
    // Answers to HEAD, and statuses 204 and 304, have no body to decode.
    if body.is_end_stream() {
        head.headers.remove(CONTENT_ENCODING);
        return Response::from_parts(head, body);
    }
    let mut codings = codings(&head);
    for _ in 0..MAX_CODINGS {
        let Some(codec) = codings.last().and_then(|coding| Codec::named(coding)) else {
            break;
        };
        codings.pop();
        body = ResponseBody::new(DecodedBody::new(codec, body));
        head.headers.remove(CONTENT_LENGTH);
    }
    head.headers.remove(CONTENT_ENCODING);
    for coding in codings {
        let coding = HeaderValue::from_static(coding);
        head.headers.append(CONTENT_ENCODING, coding);
    }
    Response::from_parts(head, body)
}

#[cfg(not(feature = "compression"))]
pub(crate) fn decode(response: Response<ResponseBody>) -> Response<ResponseBody> {
    response
}

/// The codings of the body, in the order in which they were applied.
#[cfg(feature = "compression")]
fn codings(head: &Parts) -> Vec<&'static str> {
    let lines = head.headers.get_all(CONTENT_ENCODING).into_iter();
    let lines = lines.filter_map(|line| std::str::from_utf8(line.as_bytes()).ok());
    lines.flat_map(content_codings).collect()
}
