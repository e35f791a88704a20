//! Owns content codings: which are asked for, and what becomes of a body that comes in one.

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

/// What is asked for, all the same to us.
const CODINGS: HeaderValue = HeaderValue::from_static("gzip, br, zstd");

/// Who asks for codings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asks {
    Transport,
    Caller,
}

/// Asks for the codings that can be decoded, unless the caller asks for some.
pub(crate) fn ask(headers: &mut HeaderMap) -> Asks {
    if headers.contains_key(ACCEPT_ENCODING) {
        return Asks::Caller;
    }
    if cfg!(feature = "compression") {
        headers.insert(ACCEPT_ENCODING, CODINGS);
    }
    Asks::Transport
}

/// Decodes the body, and takes its coding out of the head.
///
/// What comes in a coding that cannot be decoded is left as it is if the caller asks for codings.
/// Else it is an error, of the body alone if the status already says that it is no stream.
///
/// Differs from the standard: [Fetch](https://fetch.spec.whatwg.org/#handle-content-codings) hands
/// such a body on as it is, and events would be read in what is none.
pub(crate) fn decode(
    response: Response<ResponseBody>,
    asks: Asks,
) -> Result<Response<ResponseBody>, TransportError> {
    // The common case, and that of HEAD, 204 and 304.
    if !response.headers().contains_key(CONTENT_ENCODING) || response.body().is_end_stream() {
        return Ok(response);
    }
    let (head, body) = response.into_parts();
    let body = match coding(&head.headers) {
        Coding::Identity => body,
        #[cfg(feature = "compression")]
        Coding::Known(codec) => return Ok(decoded(codec, head, body)),
        Coding::Unknown if asks == Asks::Caller => body,
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
    /// Also several, one around the other: nobody sends that.
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

/// The body of a response that is refused anyway.
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

/// The body comes in a coding that cannot be decoded, and that nobody asked for.
#[derive(Debug)]
struct UnknownCoding;

impl fmt::Display for UnknownCoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the server sent a content encoding that it was not asked for")
    }
}

impl StdError for UnknownCoding {}
