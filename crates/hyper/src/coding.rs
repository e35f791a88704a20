//! Content codings: which ones a request accepts, and how an encoded response is handled.

use std::error::Error as StdError;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::{Body, Frame};
use tidings_client::{ResponseBody, TransportError};

#[cfg(feature = "compression")]
use crate::decode::{Codec, decoded};

/// The codings that a request accepts, without a preference.
const CODINGS: HeaderValue = HeaderValue::from_static("gzip, br, zstd");

/// Where the `Accept-Encoding` of a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AcceptedBy {
    Transport,
    Caller,
}

/// Accepts the codings that can be decoded, unless the caller sets `Accept-Encoding`.
pub(crate) fn accept(headers: &mut HeaderMap) -> AcceptedBy {
    if headers.contains_key(ACCEPT_ENCODING) {
        return AcceptedBy::Caller;
    }
    if cfg!(feature = "compression") {
        headers.insert(ACCEPT_ENCODING, CODINGS);
    }
    AcceptedBy::Transport
}

/// Decodes the body, and removes its coding from the head.
///
/// A body in an unknown coding passes through unchanged if the caller set `Accept-Encoding`.
/// Otherwise it is an error: of the whole response if the status is 200, and of the body alone if
/// the status already refuses the stream.
///
/// Differs from the standard: [Fetch](https://fetch.spec.whatwg.org/#handle-content-codings) passes
/// such a body through unchanged, and encoded bytes would be read as events.
pub(crate) fn decode(
    response: Response<ResponseBody>,
    accepted_by: AcceptedBy,
) -> Result<Response<ResponseBody>, TransportError> {
    // The common case. Answers to HEAD, and statuses 204 and 304, have no body to decode.
    if !response.headers().contains_key(CONTENT_ENCODING) || response.body().is_end_stream() {
        return Ok(response);
    }
    let (head, body) = response.into_parts();
    let body = match coding(&head.headers) {
        Coding::Identity => body,
        #[cfg(feature = "compression")]
        Coding::Known(codec) => return Ok(decoded(codec, head, body)),
        Coding::Unknown if accepted_by == AcceptedBy::Caller => body,
        Coding::Unknown if head.status == StatusCode::OK => return Err(UnknownCoding.into()),
        Coding::Unknown => ResponseBody::new(UnreadableBody { is_over: false }),
    };
    Ok(Response::from_parts(head, body))
}

#[derive(Debug, PartialEq, Eq)]
enum Coding {
    Identity,
    #[cfg(feature = "compression")]
    Known(Codec),
    /// Also two codings applied one after the other, which no known server sends.
    Unknown,
}

fn coding(headers: &HeaderMap) -> Coding {
    let mut found = Coding::Identity;
    for value in headers.get_all(CONTENT_ENCODING) {
        let Ok(value) = value.to_str() else {
            return Coding::Unknown;
        };
        for name in value.split(',') {
            let next = match name.trim().to_ascii_lowercase().as_str() {
                "" | "identity" => continue,
                #[cfg(feature = "compression")]
                "gzip" | "x-gzip" => Coding::Known(Codec::Gzip),
                #[cfg(feature = "compression")]
                "br" => Coding::Known(Codec::Brotli),
                #[cfg(feature = "compression")]
                "zstd" => Coding::Known(Codec::Zstd),
                _ => Coding::Unknown,
            };
            if found != Coding::Identity {
                return Coding::Unknown;
            }
            found = next;
        }
    }
    found
}

/// The body, in an unknown coding, of a response that its status already refuses.
struct UnreadableBody {
    is_over: bool,
}

impl Body for UnreadableBody {
    type Data = Bytes;
    type Error = UnknownCoding;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UnknownCoding>>> {
        let is_over = std::mem::replace(&mut self.is_over, true);
        Poll::Ready((!is_over).then_some(Err(UnknownCoding)))
    }
}

/// The error for a body in a coding that the request did not accept.
#[derive(Debug)]
struct UnknownCoding;

impl fmt::Display for UnknownCoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if cfg!(feature = "compression") {
            "the server sent a content encoding other than the accepted gzip, br and zstd"
        } else {
            "the server sent a content encoding, and the feature `compression` is off"
        })
    }
}

impl StdError for UnknownCoding {}
