//! One exchange over a connection: sends the request and waits for the head of the response.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tidings_client::ResponseBody;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::body::{Connection, DirectBody};

/// The most header lines of a response. hyper's default, 100, is less than some servers send.
const MAX_HEADERS: usize = 512;

/// The most bytes of a response's head, as in Chromium.
const MAX_HEAD_BYTES: usize = 256 * 1024;

pub(crate) async fn exchange<IO>(
    io: IO,
    request: Request<Bytes>,
) -> Result<Response<ResponseBody>, hyper::Error>
where
    IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = builder().handshake(TokioIo::new(io)).await?;
    let response = sender.send_request(request.map(Full::new));
    let (response, connection) = drive(connection, response).await;
    Ok(response?.map(|body| ResponseBody::new(DirectBody::new(connection, body))))
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
) -> (F::Output, Option<Connection<IO>>)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future,
{
    let mut response = pin!(response);
    let mut connection = Some(connection);
    let response = poll_fn(|cx| {
        if let Poll::Ready(response) = response.as_mut().poll(cx) {
            return Poll::Ready(response);
        }
        if let Some(open) = &mut connection
            && Pin::new(open).poll(cx).is_ready()
        {
            // The response receives the connection's error, if there is one.
            connection = None;
        }
        response.as_mut().poll(cx)
    });
    (response.await, connection)
}
