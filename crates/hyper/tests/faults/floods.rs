//! Servers that flood a session: its timeouts still expire. The stream of bytes is always ready, as a
//! fast socket is.

use std::io::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tidings_client::{ErrorKind, SseClient};
use tidings_hyper::DirectTransport;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::scene::{SECOND, URL};

/// Answers a request with `beginning`, and then repeats `rest` as fast as it is read.
struct Flood {
    asked: bool,
    beginning: Vec<u8>,
    rest: Vec<u8>,
}

impl AsyncRead for Flood {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if !self.asked {
            // The same task sends the request, so it must be polled again.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        // As a socket does: a task that reads without end must yield.
        let budget = std::task::ready!(tokio::task::coop::poll_proceed(cx));
        budget.made_progress();
        let beginning = std::mem::take(&mut self.beginning);
        let bytes = if beginning.is_empty() {
            &self.rest
        } else {
            &beginning
        };
        buffer.put_slice(&bytes[..bytes.len().min(buffer.remaining())]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Flood {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.asked = true;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn client(beginning: &[u8], rest: &[u8]) -> SseClient {
    let (beginning, rest) = (beginning.to_vec(), rest.to_vec());
    SseClient::over(DirectTransport::over(move |_| {
        let (beginning, rest) = (beginning.clone(), rest.clone());
        async move {
            Ok(Flood {
                asked: false,
                beginning,
                rest,
            })
        }
    }))
}

#[tokio::test]
async fn endless_interim_heads_time_out() {
    let client = client(b"", &b"HTTP/1.1 100 Continue\r\n\r\n".repeat(50));
    let request = client.get(URL).response_timeout(Duration::from_millis(100));
    let opening = tidings_testkit::timeout::timeout(20 * SECOND, request.open());
    let error = opening.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Connect);
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(
        source.to_string(),
        "the server sent no response head within 100ms"
    );
}

#[cfg(feature = "compression")]
#[tokio::test]
async fn a_refusal_whose_body_decodes_to_nothing_is_reported() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(b"").unwrap();
    let empty = encoder.finish().unwrap();
    let head = b"HTTP/1.1 401 No\r\ncontent-encoding: gzip\r\n\r\n";
    let client = client(head, &empty.repeat(300));
    let opening = tidings_testkit::timeout::timeout(60 * SECOND, client.get(URL).open());
    let error = opening.await.unwrap().unwrap_err();
    let refused = ErrorKind::Status(http::StatusCode::UNAUTHORIZED);
    assert_eq!(error.kind(), &refused);
}
