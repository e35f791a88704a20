//! Sessions under the compression layer of `tower-http`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io::Write;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING};
use http::{Extensions, HeaderMap, Request, Response, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1 as client;
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tidings_server::{
    BrokenSession, Event, HandlerError, Heartbeat, Session, SessionBody, SseRequest,
};
use tidings_testkit::timeout::timeout;
use tokio::sync::Notify;
use tokio::task::yield_now;
use tower_http::compression::Compression;
use tower_service::Service;

const SOON: Duration = Duration::from_secs(20);

/// More turns of the runtime than any chain of wakes takes.
const TURNS: usize = 200;

/// How often the layer polled the body of a session.
#[derive(Default)]
struct Polls {
    all: AtomicUsize,
    frames: AtomicUsize,
    after_the_end: AtomicUsize,
}

impl Polls {
    fn all(&self) -> usize {
        self.all.load(Ordering::SeqCst)
    }

    fn frames(&self) -> usize {
        self.frames.load(Ordering::SeqCst)
    }
}

struct Counted {
    body: SessionBody,
    polls: Arc<Polls>,
    is_over: bool,
}

impl Body for Counted {
    type Data = Bytes;
    type Error = BrokenSession;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenSession>>> {
        self.polls.all.fetch_add(1, Ordering::SeqCst);
        if self.is_over {
            self.polls.after_the_end.fetch_add(1, Ordering::SeqCst);
        }
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        match &frame {
            Poll::Ready(Some(Ok(_))) => {
                self.polls.frames.fetch_add(1, Ordering::SeqCst);
            }
            Poll::Ready(_) => self.is_over = true,
            Poll::Pending => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A service that answers with a session of this handler.
#[derive(Clone)]
struct App<H> {
    handler: H,
    polls: Arc<Polls>,
}

impl<H, F> Service<Request<Incoming>> for App<H>
where
    H: FnOnce(Session) -> F + Clone,
    F: Future<Output = Result<(), HandlerError>> + Send + 'static,
{
    type Response = Response<Counted>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Counted>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let (parts, _) = request.into_parts();
        let response = SseRequest::new(parts).open(self.handler.clone());
        let polls = Arc::clone(&self.polls);
        ready(Ok(response.map(|body| Counted {
            body,
            polls,
            is_over: false,
        })))
    }
}

/// The response of a server with the layer, over a connection in memory.
async fn get<H, F>(coding: &str, handler: H) -> (Response<Incoming>, Arc<Polls>)
where
    H: FnOnce(Session) -> F + Clone + Send + 'static,
    F: Future<Output = Result<(), HandlerError>> + Send + 'static,
{
    let polls = Arc::<Polls>::default();
    let app = App {
        handler,
        polls: Arc::clone(&polls),
    };
    let event_streams_too = |_: StatusCode, _: Version, _: &HeaderMap, _: &Extensions| true;
    let app = Compression::new(app).compress_when(event_streams_too);
    let service = service_fn(move |request| app.clone().call(request));
    let (near, far) = tokio::io::duplex(64 * 1024);
    tokio::spawn(async move {
        let server = server::Builder::new();
        drop(server.serve_connection(TokioIo::new(far), service).await);
    });
    let (mut client, connection) = client::handshake(TokioIo::new(near)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("/events").header(ACCEPT_ENCODING, coding);
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    let response = timeout(SOON, client.send_request(request)).await;
    let response = response.expect("no head arrives").unwrap();
    assert_eq!(response.headers()[CONTENT_ENCODING], coding);
    (response, polls)
}

/// Reads and decodes until exactly this text has arrived.
async fn receive<D: Write>(
    body: &mut Incoming,
    decoder: &mut D,
    decoded: fn(&D) -> &Vec<u8>,
    text: &str,
) {
    while decoded(decoder).len() < text.len() {
        let frame = timeout(SOON, body.frame()).await.expect("nothing arrives");
        let bytes = frame.expect("the end").unwrap().into_data().unwrap();
        decoder.write_all(&bytes).unwrap();
        decoder.flush().unwrap();
    }
    assert_eq!(String::from_utf8_lossy(decoded(decoder)), text);
}

/// Receives each event before the next is sent, and counts the polls of the body.
async fn check<D: Write>(coding: &str, mut decoder: D, decoded: fn(&D) -> &Vec<u8>) {
    const EVENTS: usize = 20;
    let received = Arc::new(Notify::new());
    let is_received = Arc::clone(&received);
    let (response, polls) = get(coding, async move |session: Session| {
        // A timer that is not due must not wake the body.
        session.heartbeat(Heartbeat::default());
        for n in 0..EVENTS {
            session.send(Event::new(format!("event {n}"))).await?;
            is_received.notified().await;
        }
        Ok(())
    })
    .await;
    let mut body = response.into_body();
    let mut sent = String::new();
    for n in 0..EVENTS {
        sent.push_str(&format!("data: event {n}\n\n"));
        receive(&mut body, &mut decoder, decoded, &sent).await;
        turns().await;
        let idle = polls.all();
        turns().await;
        assert_eq!(polls.all(), idle, "{coding}: an idle body is polled");
        received.notify_one();
    }
    let rest = timeout(SOON, body.collect()).await.expect("no end");
    let rest = rest.unwrap().to_bytes();
    decoder.write_all(&rest).unwrap();
    decoder.flush().unwrap();
    assert_eq!(String::from_utf8_lossy(decoded(&decoder)), sent);

    turns().await;
    assert_eq!(polls.frames(), EVENTS, "{coding}");
    assert!(polls.all() <= 5 * EVENTS, "{coding}: {} polls", polls.all());
    // The layer polls once more, for trailers.
    let after = polls.after_the_end.load(Ordering::SeqCst);
    assert!(after <= 1, "{coding}: {after} polls after the end");
}

async fn turns() {
    for _ in 0..TURNS {
        yield_now().await;
    }
}

#[tokio::test]
async fn the_layer_neither_buffers_nor_polls_an_idle_session() {
    let gzip = flate2::write::GzDecoder::new(Vec::new());
    check("gzip", gzip, |it| it.get_ref()).await;
    let brotli = brotli::DecompressorWriter::new(Vec::new(), 1 << 20);
    check("br", brotli, |it| it.get_ref()).await;
    let zstd = zstd::stream::write::Decoder::new(Vec::new()).unwrap();
    check("zstd", zstd, |it| it.get_ref()).await;
}

#[tokio::test]
async fn under_the_layer_a_failing_handler_cuts_the_stream() {
    let received = Arc::new(Notify::new());
    let is_received = Arc::clone(&received);
    let (response, _) = get("gzip", async move |session: Session| {
        session.send(Event::new("first")).await?;
        is_received.notified().await;
        Err(HandlerError::new("on purpose"))
    })
    .await;
    let mut body = response.into_body();
    let mut gzip = flate2::write::GzDecoder::new(Vec::new());
    receive(&mut body, &mut gzip, |it| it.get_ref(), "data: first\n\n").await;
    received.notify_one();
    let rest = timeout(SOON, body.collect()).await.expect("no end");
    rest.expect_err("the stream is cut");
}
