//! One exchange over a connection: sends the request and waits for the head of the response.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::Poll;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, TRANSFER_ENCODING};
use http::{HeaderMap, Request, Response};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tidings_client::{ResponseBody, TransportError};
use tokio::task::coop::unconstrained;

use crate::body::DirectBody;
use crate::connect::Duplex;
use crate::framing::Framing;
use crate::gate::GateHandle;
use crate::upload::{Connection, RequestBody, Upload};

/// The most header lines of a response. hyper's default, 100, is less than some servers send.
const MAX_HEADERS: usize = 512;

/// The most bytes of a response's head, as in Chromium.
const MAX_HEAD_BYTES: usize = 256 * 1024;

/// hyper writes the request and reads the head of the response. The body of the response is read
/// without it.
pub(crate) async fn exchange<IO>(
    io: IO,
    request: Request<Bytes>,
) -> Result<Response<ResponseBody>, TransportError>
where
    IO: Duplex,
{
    let gate = GateHandle::new(io);
    let request = request.map(RequestBody::new);
    let body_end = request.body().end();
    let (mut sender, connection) = builder().handshake(TokioIo::new(gate.clone())).await?;
    let response = sender.send_request(request);
    let (response, connection) = drive(connection, response, &gate).await;
    let (head, unread) = response?.into_parts();
    let framing = framing(&head.headers, &unread);
    let upload = Upload::new(connection, gate, body_end, unread);
    let body = ResponseBody::new(DirectBody::new(upload, framing));
    Ok(Response::from_parts(head, body))
}

/// The settings of a connection. It accepts the heads that browsers accept: as it carries one
/// response, no line of a head can be taken for another response.
fn builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .allow_spaces_after_header_name_in_responses(true)
        .allow_obsolete_multiline_headers_in_responses(true)
        .ignore_invalid_headers_in_responses(true)
        .max_headers(MAX_HEADERS)
        .max_header_size(MAX_HEAD_BYTES);
    builder
}

/// Polls the connection until the response's head arrives. Returns the connection if it is still open.
async fn drive<IO, F>(
    connection: Connection<IO>,
    response: F,
    gate: &GateHandle<IO>,
) -> (
    Result<Response<Incoming>, TransportError>,
    Option<Connection<IO>>,
)
where
    IO: Duplex,
    F: Future<Output = hyper::Result<Response<Incoming>>>,
{
    // Without tokio's budget, so that a response that was received is always ready.
    let mut response = pin!(unconstrained(response));
    let mut connection = Some(connection);
    let response = poll_fn(|cx| {
        if let Poll::Ready(response) = response.as_mut().poll(cx) {
            return Poll::Ready(response.map_err(TransportError::from));
        }
        if let Some(open) = &mut connection
            && Pin::new(open).poll(cx).is_ready()
        {
            // The response receives the connection's error, if there is one.
            connection = None;
        }
        match response.as_mut().poll(cx) {
            // hyper waits for more of a head that has ended, so it would wait for ever.
            Poll::Pending if gate.gate().is_head_over() => Poll::Ready(Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the head of the response has no clear end",
            )
            .into())),
            response => response.map_err(TransportError::from),
        }
    });
    (response.await, connection)
}

/// How the body is delimited. hyper has judged the head: whether there is a body, and its length.
fn framing(headers: &HeaderMap, body: &Incoming) -> Framing {
    if body.is_end_stream() {
        Framing::Over
    } else if let Some(length) = body.size_hint().exact() {
        Framing::length(length)
    } else if is_chunked(headers) && headers.contains_key(CONTENT_ENCODING) {
        // A decoder that finds an error loses the text before it in the same frame.
        Framing::separate_chunks()
    } else if is_chunked(headers) {
        Framing::chunked()
    } else {
        Framing::UntilClose
    }
}

/// Whether the last transfer coding is `chunked`.
fn is_chunked(headers: &HeaderMap) -> bool {
    let last = headers.get_all(TRANSFER_ENCODING).iter().next_back();
    let last = last.and_then(|line| line.to_str().ok()?.rsplit(',').next());
    last.is_some_and(|coding| coding.trim().eq_ignore_ascii_case("chunked"))
}
