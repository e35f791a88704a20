//! The direct transport beside hyper's own reading of the same response. The body of the fuzz target
//! `responses`.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Mutex;
use std::task::Poll;

use bytes::Bytes;
use http::header::CONTENT_ENCODING;
use http::response::Parts;
use http::{Method, Request};
use http_body::Body;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tidings_client::Transport;
use tidings_hyper::DirectTransport;

use crate::pieces::{Pieces, run};

/// The most bytes of a response that hyper reads at once, into its first buffer.
const MAX_RESPONSE: usize = 8 * 1024;

/// A response as it was read. `None` if its head was refused.
pub(crate) type Reading = Option<(Parts, Ending)>;

/// A body, and whether it was complete.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) body: Vec<u8>,
    pub(crate) is_complete: bool,
}

/// What hyper accepts, the direct transport accepts with the same body, however it is cut. Input: one
/// byte that selects the method, one byte with the length of the pieces (0: one piece), then the
/// response.
///
/// # Panics
/// If the two differ.
pub(crate) fn check(input: &[u8]) {
    let [method, length, response @ ..] = input else {
        return;
    };
    if response.len() > MAX_RESPONSE {
        return;
    }
    let method =
        [Method::GET, Method::HEAD, Method::POST, Method::CONNECT][usize::from(method % 4)].clone();
    let length = match usize::from(*length) {
        0 => MAX_RESPONSE,
        length => length,
    };
    // hyper looks for some ends of a head only in the bytes of one read.
    let expected = by_hyper(method.clone(), Pieces::of_length(response, MAX_RESPONSE));
    let found = by_us(method, Pieces::of_length(response, length));
    let (Some((head, expected)), Some((found_head, found))) = (&expected, &found) else {
        assert_eq!(
            expected.is_some(),
            found.is_some(),
            "{expected:?}, {found:?}"
        );
        return;
    };
    assert_eq!(head.status, found_head.status);
    if head.headers.contains_key(CONTENT_ENCODING) && cfg!(feature = "compression") {
        return;
    }
    assert_eq!(head.headers, found_head.headers);
    if expected.is_complete {
        assert_eq!(expected, found);
    } else {
        // The table has the bodies that only hyper refuses.
        assert!(
            found.body.starts_with(&expected.body),
            "{expected:?}, {found:?}"
        );
    }
}

fn request<B>(method: Method, body: B) -> Request<B> {
    let request = Request::builder().method(method).uri("http://a.test/");
    request.header("host", "a.test").body(body).unwrap()
}

/// Reads a response with the direct transport.
pub(crate) fn by_us(method: Method, pieces: Pieces) -> Reading {
    let pieces = Mutex::new(Some(pieces));
    let transport = DirectTransport::over(move |_| {
        let pieces = pieces.lock().unwrap().take().unwrap();
        async { Ok(pieces) }
    });
    let response = run(transport.connect(request(method, Bytes::new()))).ok()?;
    let (head, body) = response.into_parts();
    Some((head, run(collect(body))))
}

/// Reads a response with hyper alone.
pub(crate) fn by_hyper(method: Method, pieces: Pieces) -> Reading {
    let handshake = http1::Builder::new()
        .allow_spaces_after_header_name_in_responses(true)
        .allow_obsolete_multiline_headers_in_responses(true)
        .ignore_invalid_headers_in_responses(true)
        .max_headers(512)
        .max_header_size(256 * 1024)
        .handshake(TokioIo::new(pieces));
    let (mut sender, connection) = run(handshake).unwrap();
    let mut connection = Some(connection);
    let response = sender.send_request(request(method, Empty::<Bytes>::new()));
    let (head, body) = run(beside(&mut connection, response)).ok()?.into_parts();
    Some((head, run(beside(&mut connection, collect(body)))))
}

/// Polls the future, and the connection that it waits for.
async fn beside<F: Future>(connection: &mut Option<impl Future + Unpin>, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(output);
        }
        if let Some(open) = connection
            && Pin::new(open).poll(cx).is_ready()
        {
            *connection = None;
        }
        future.as_mut().poll(cx)
    })
    .await
}

async fn collect<B: Body<Data = Bytes>>(body: B) -> Ending {
    let mut body = pin!(body);
    let mut bytes = Vec::new();
    loop {
        match poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
            Some(Ok(frame)) => bytes.extend_from_slice(&frame.into_data().unwrap_or_default()),
            end => {
                return Ending {
                    body: bytes,
                    is_complete: end.is_none(),
                };
            }
        }
    }
}
