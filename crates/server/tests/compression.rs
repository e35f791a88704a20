//! Compressed sessions on hyper's own connections, decoded as a client decodes them.
#![cfg(feature = "compression")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, VARY};
use http::request::Parts;
use http::{Method, Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1 as client;
use hyper_util::rt::TokioIo;
use tidings_server::{Event, HandlerError, Session, SessionOptions, SseRequest};
use tidings_testkit::http_server;
use tidings_testkit::timeout::timeout;
use tokio::sync::Notify;

const SOON: Duration = Duration::from_secs(20);

const CODINGS: [&str; 3] = ["zstd", "gzip", "br"];

/// The response to one request, over a connection in memory.
async fn ask<H, F>(method: Method, accepted: Option<&str>, handler: H) -> Response<Incoming>
where
    H: FnOnce(Session) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<(), HandlerError>> + Send + 'static,
{
    let (near, far) = tokio::io::duplex(64 * 1024);
    let respond = move |request: Request<Incoming>| {
        SseRequest::new(request.into_parts().0)
            .options(SessionOptions::new().compression(true))
            .open(handler.clone())
    };
    tokio::spawn(http_server::serve_http1(far, respond));
    let (mut client, connection) = client::handshake(TokioIo::new(near)).await.unwrap();
    tokio::spawn(connection);
    let mut request = Request::builder().method(method).uri("/events");
    if let Some(accepted) = accepted {
        request = request.header(ACCEPT_ENCODING, accepted);
    }
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    let response = timeout(SOON, client.send_request(request)).await;
    response.expect("no head arrives").unwrap()
}

async fn get<H, F>(coding: &str, handler: H) -> Response<Incoming>
where
    H: FnOnce(Session) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<(), HandlerError>> + Send + 'static,
{
    let response = ask(Method::GET, Some(coding), handler).await;
    assert_eq!(header(&response, CONTENT_ENCODING), Some(coding));
    response
}

fn header<B>(response: &Response<B>, name: http::HeaderName) -> Option<&str> {
    let mut values = response.headers().get_all(name).iter();
    let value = values.next()?.to_str().unwrap();
    assert_eq!(values.next(), None);
    Some(value)
}

/// A client that decodes each frame as it arrives, and keeps the encoded bytes.
struct Client {
    coding: String,
    body: Incoming,
    wire: Vec<u8>,
    decoder: Box<dyn Decoder>,
}

/// A decoder that is written to.
trait Decoder: Write {
    /// Everything decoded so far.
    fn decoded(&self) -> &[u8];
}

impl Decoder for flate2::write::GzDecoder<Vec<u8>> {
    fn decoded(&self) -> &[u8] {
        self.get_ref()
    }
}

impl Decoder for brotli::DecompressorWriter<Vec<u8>> {
    fn decoded(&self) -> &[u8] {
        self.get_ref()
    }
}

impl Decoder for zstd::stream::write::Decoder<'static, Vec<u8>> {
    fn decoded(&self) -> &[u8] {
        self.get_ref()
    }
}

impl Client {
    fn new(coding: &str, response: Response<Incoming>) -> Self {
        let decoder: Box<dyn Decoder> = match coding {
            "gzip" => Box::new(flate2::write::GzDecoder::new(Vec::new())),
            // It keeps output that exceeds its buffer until more input arrives.
            "br" => Box::new(brotli::DecompressorWriter::new(Vec::new(), 1 << 20)),
            _ => Box::new(zstd::stream::write::Decoder::new(Vec::new()).unwrap()),
        };
        Self {
            coding: coding.into(),
            body: response.into_body(),
            wire: Vec::new(),
            decoder,
        }
    }

    /// Reads until exactly this text has arrived.
    async fn receive(&mut self, text: &str) {
        while self.decoder.decoded().len() < text.len() {
            let frame = timeout(SOON, self.body.frame()).await;
            let frame = frame.unwrap_or_else(|_| panic!("{}: nothing arrives", self.coding));
            let bytes = frame.expect("the end").unwrap().into_data().unwrap();
            assert!(!bytes.is_empty());
            self.decoder.write_all(&bytes).unwrap();
            self.decoder.flush().unwrap();
            self.wire.extend_from_slice(&bytes);
        }
        assert!(self.decoder.decoded() == text.as_bytes(), "{}", self.coding);
    }

    /// Reads to the end. Decodes the whole stream with a decoder that requires its end.
    async fn rest(&mut self) -> Result<Vec<u8>, hyper::Error> {
        while let Some(frame) = timeout(SOON, self.body.frame()).await.expect("no end") {
            self.wire.extend(frame?.into_data().unwrap());
        }
        Ok(decoded(&self.coding, &self.wire).unwrap())
    }
}

fn decoded(coding: &str, whole: &[u8]) -> io::Result<Vec<u8>> {
    let mut decoded = Vec::new();
    match coding {
        "gzip" => flate2::read::GzDecoder::new(whole).read_to_end(&mut decoded),
        "br" => brotli::Decompressor::new(whole, 4096).read_to_end(&mut decoded),
        _ => zstd::Decoder::new(whole)?.read_to_end(&mut decoded),
    }?;
    Ok(decoded)
}

#[tokio::test]
async fn each_event_is_decoded_before_the_next_is_sent() {
    for coding in CODINGS {
        let received = Arc::new(Notify::new());
        let is_received = Arc::clone(&received);
        let response = get(coding, async move |session: Session| {
            for n in 0..50 {
                session.send(Event::new(format!("event {n}"))).await?;
                is_received.notified().await;
            }
            Ok(())
        });
        let mut client = Client::new(coding, response.await);
        let mut sent = String::new();
        for n in 0..50 {
            sent.push_str(&format!("data: event {n}\n\n"));
            client.receive(&sent).await;
            received.notify_one();
        }
        assert_eq!(client.rest().await.unwrap(), sent.as_bytes(), "{coding}");
    }
}

#[tokio::test]
async fn ten_megabytes_in_one_event_and_then_many_events_read_back() {
    for coding in CODINGS {
        let huge: String = (0..10_000_000 / 8).map(|n| format!("{n:07} ")).collect();
        let mut sent = format!("data: {huge}\n\n");
        let event = huge.clone();
        let response = get(coding, async move |session: Session| {
            for event in [&event[..], "between"] {
                session.send(Event::new(event)).await?;
            }
            for line in event.as_bytes()[..1 << 20].chunks(1000) {
                let line = String::from_utf8_lossy(line);
                session.send(Event::new(line)).await?;
            }
            Ok(())
        });
        sent.push_str("data: between\n\n");
        for line in huge.as_bytes()[..1 << 20].chunks(1000) {
            sent.push_str(&format!("data: {}\n\n", String::from_utf8_lossy(line)));
        }
        let mut client = Client::new(coding, response.await);
        assert!(client.rest().await.unwrap() == sent.as_bytes(), "{coding}");
        let ratio = sent.len() / client.wire.len();
        assert!(ratio >= 2, "{coding}: {ratio}");
    }
}

#[tokio::test]
async fn a_huge_event_is_decoded_while_the_handler_waits() {
    for coding in CODINGS {
        let text: String = (0..50_000).map(|n| format!("{n} ")).collect();
        let sent = format!("data: {text}\n\n");
        let response = get(coding, async |session: Session| {
            session.send(Event::new(text)).await?;
            std::future::pending().await
        });
        Client::new(coding, response.await).receive(&sent).await;
    }
}

#[tokio::test]
async fn a_stream_without_events_is_whole() {
    for coding in CODINGS {
        let response = get(coding, async |_: Session| Ok(())).await;
        let mut client = Client::new(coding, response);
        assert_eq!(client.rest().await.unwrap(), b"", "{coding}");
        assert!(!client.wire.is_empty(), "{coding}");
    }
}

#[tokio::test]
async fn a_stream_that_is_closed_is_whole() {
    for coding in CODINGS {
        let response = get(coding, async |session: Session| {
            session.send(Event::new("last")).await?;
            session.close();
            std::future::pending().await
        });
        let mut client = Client::new(coding, response.await);
        assert_eq!(client.rest().await.unwrap(), b"data: last\n\n", "{coding}");
    }
}

#[tokio::test]
async fn a_failing_handler_sends_its_event_and_no_end_of_the_coding() {
    for coding in CODINGS {
        let response = get(coding, async |session: Session| {
            session.send(Event::new("first")).await?;
            Err(HandlerError::new("on purpose"))
        });
        let mut client = Client::new(coding, response.await);
        client.receive("data: first\n\n").await;
        client.rest().await.expect_err("the stream is cut");
        assert!(decoded(coding, &client.wire).is_err(), "{coding}: an end");
    }
}

#[tokio::test]
async fn a_head_request_has_the_headers_of_a_get() {
    for coding in CODINGS {
        let handler = async |_: Session| Ok(());
        let head = ask(Method::HEAD, Some(coding), handler).await;
        let get = get(coding, handler).await;
        for name in [CONTENT_ENCODING, VARY, http::header::CONTENT_TYPE] {
            assert_eq!(header(&head, name.clone()), header(&get, name));
        }
        let body = timeout(SOON, head.into_body().collect()).await.unwrap();
        assert_eq!(body.unwrap().to_bytes(), "");
    }
}

#[tokio::test]
async fn the_response_varies_by_accept_encoding() {
    for (accepted, expected) in [
        (None, None),
        (Some("identity"), None),
        (Some("deflate"), None),
        (Some("gzip, deflate, br, zstd"), Some("zstd")),
        (Some("gzip, deflate, br"), Some("gzip")),
        (Some("gzip;q=0, br"), Some("br")),
    ] {
        let handler = async |session: Session| Ok(session.send(Event::new("a")).await?);
        let response = ask(Method::GET, accepted, handler).await;
        assert_eq!(header(&response, VARY), Some("accept-encoding"));
        assert_eq!(header(&response, CONTENT_ENCODING), expected);
        let body = timeout(SOON, response.into_body().collect()).await.unwrap();
        let body = body.unwrap().to_bytes();
        assert_eq!(body == "data: a\n\n", expected.is_none(), "{accepted:?}");
    }
}

fn parts(accepted: &str) -> Parts {
    let request = Request::get("/events").header(ACCEPT_ENCODING, accepted);
    request.body(()).unwrap().into_parts().0
}

#[test]
fn without_the_option_a_stream_is_not_compressed() {
    let response = SseRequest::new(parts("gzip")).open(async |_| Ok(()));
    assert_eq!(header(&response, CONTENT_ENCODING), None);
    assert_eq!(header(&response, VARY), None);
}

#[tokio::test]
async fn a_huge_event_yields_after_each_piece() {
    let event = Event::new("x".repeat(10_000_000));
    let request = SseRequest::new(parts("zstd")).options(SessionOptions::new().compression(true));
    let response = request.open(async move |session| Ok(session.send(event).await?));
    let mut body = std::pin::pin!(response.into_body());
    let mut frames = 0;
    let mut turns = 0;
    while let Some(frame) = std::future::poll_fn(|cx| {
        let frame = body.as_mut().poll_frame(cx);
        turns += usize::from(frame.is_pending());
        frame
    })
    .await
    {
        assert!(!frame.unwrap().into_data().unwrap().is_empty());
        frames += 1;
    }
    assert!(frames > 1, "{frames}");
    // One for the head, and one after each piece except the last.
    assert_eq!(turns, frames);
}
