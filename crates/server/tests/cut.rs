//! The cut of a failed stream comes after its events, however late they leave.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tidings_server::{Event, HandlerError, IoDeadline, Session, SessionBody, SseRequest};
use tidings_testkit::http_server;
use tidings_testkit::timeout::timeout;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

async fn fail(session: Session) -> Result<(), HandlerError> {
    let events: u64 = session.request().uri.path().trim_matches('/').parse()?;
    for n in 0..events {
        session.send(Event::new("x".repeat(1000)).id(n)).await?;
    }
    Err(HandlerError::new("on purpose"))
}

fn respond(request: Request<Incoming>) -> Response<SessionBody> {
    SseRequest::new(request.into_parts().0).open(fail)
}

async fn client(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> SendRequest<Empty<Bytes>> {
    let client = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (client, connection) = client.await.unwrap();
    tokio::spawn(connection);
    client
}

/// The number of events that arrive before the cut.
async fn received(client: &mut SendRequest<Empty<Bytes>>, sent: u64) -> usize {
    let request = Request::get(format!("http://test/{sent}")).body(Empty::new());
    client.ready().await.unwrap();
    let response = client.send_request(request.unwrap()).await;
    let mut body = response
        .expect("the head arrives before the cut")
        .into_body();
    let mut bytes = Vec::new();
    loop {
        match body.frame().await.expect("a cut, not an end") {
            Ok(frame) => bytes.extend(frame.into_data().unwrap()),
            Err(_) => return bytes.windows(2).filter(|end| end == b"\n\n").count(),
        }
    }
}

async fn within<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_secs(60), future)
        .await
        .expect("it hangs")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn head_and_event_arrive_before_the_cut_in_any_order_of_the_tasks() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap());
    let (stream, accepted) = tokio::join!(stream, listener.accept());
    let (accepted, _) = accepted.unwrap();
    accepted.set_nodelay(true).unwrap();
    tokio::spawn(http_server::serve_http2(accepted, respond));
    let mut client = client(stream.unwrap()).await;
    for sent in [1, 1, 1, 1, 0].repeat(30) {
        assert_eq!(within(received(&mut client, sent)).await as u64, sent);
    }
}

#[tokio::test]
async fn all_events_arrive_before_the_cut_over_a_slow_http_2_connection() {
    let (near, far) = tokio::io::duplex(64);
    tokio::spawn(http_server::serve_http2(far, respond));
    let mut client = client(near).await;
    assert_eq!(within(received(&mut client, 60)).await, 60);
}

#[tokio::test]
async fn all_events_arrive_before_the_cut_over_a_slow_http_1_connection() {
    for capacity in [64, 16 * 1024] {
        let (mut near, far) = tokio::io::duplex(capacity);
        let stream = IoDeadline::new(far);
        let outgoing = stream.outgoing().clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(outgoing.clone());
            let response = respond(request);
            async { Ok::<_, Infallible>(response) }
        });
        let server = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        let server = tokio::spawn(server);
        let request = b"GET /300 HTTP/1.1\r\nhost: test\r\n\r\n";
        near.write_all(request).await.unwrap();
        let mut bytes = Vec::new();
        within(near.read_to_end(&mut bytes)).await.unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(text.matches("xxx\n\n").count(), 300, "{capacity}");
        assert!(!text.ends_with("0\r\n\r\n"), "a cut, not an end");
        server.await.unwrap().unwrap_err();
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_keeps_its_frames_sees_the_cut() {
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let request = Request::get("/1").version(version).body(()).unwrap();
        let mut body = SseRequest::new(request.into_parts().0)
            .open(fail)
            .into_body();
        let mut kept = Vec::new();
        while let Some(Ok(frame)) = within(body.frame()).await {
            kept.push(frame);
        }
        assert!(!kept.is_empty());
        assert!(body.frame().await.is_none());
    }
}
