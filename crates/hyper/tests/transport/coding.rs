//! Content codings: which ones a request accepts, and how bodies in them are decoded.

use async_compression::tokio::write::{BrotliEncoder, GzipEncoder, ZstdEncoder};
use async_compression::zstd::CParameter;
use async_compression::{Level, brotli};
use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use tidings_client::{ResponseBody, Transport, TransportError};
use tokio::io::duplex;

use super::*;

const CODECS: [&str; 3] = ["gzip", "br", "zstd"];

/// A server's compressor. Its bytes are taken as they are produced.
enum Encoder {
    Gzip(GzipEncoder<Vec<u8>>),
    Brotli(Box<BrotliEncoder<Vec<u8>>>),
    Zstd(ZstdEncoder<Vec<u8>>),
}

impl Encoder {
    fn new(codec: &str) -> Self {
        match codec {
            "gzip" => Self::Gzip(GzipEncoder::new(Vec::new())),
            "br" => Self::Brotli(Box::new(BrotliEncoder::with_quality(
                Vec::new(),
                Level::Fastest,
            ))),
            _ => Self::Zstd(ZstdEncoder::new(Vec::new())),
        }
    }

    /// The text compressed and flushed.
    async fn flushed(&mut self, text: &str) -> Vec<u8> {
        self.writer().write_all(text.as_bytes()).await.unwrap();
        self.writer().flush().await.unwrap();
        self.take()
    }

    async fn end(&mut self) -> Vec<u8> {
        self.writer().shutdown().await.unwrap();
        self.take()
    }

    fn writer(&mut self) -> &mut (dyn AsyncWrite + Unpin) {
        match self {
            Self::Gzip(encoder) => encoder,
            Self::Brotli(encoder) => encoder,
            Self::Zstd(encoder) => encoder,
        }
    }

    fn take(&mut self) -> Vec<u8> {
        std::mem::take(match self {
            Self::Gzip(encoder) => encoder.get_mut(),
            Self::Brotli(encoder) => encoder.get_mut(),
            Self::Zstd(encoder) => encoder.get_mut(),
        })
    }
}

/// The text as a complete compressed body.
async fn encoded(codec: &str, text: &str) -> Vec<u8> {
    let mut encoder = Encoder::new(codec);
    let mut bytes = encoder.flushed(text).await;
    bytes.extend(encoder.end().await);
    bytes
}

fn head_of(status: u16, codec: &str, length: &str) -> String {
    let stream = "content-type: text/event-stream\r\nconnection: close";
    format!("HTTP/1.1 {status} It\r\n{stream}\r\ncontent-encoding: {codec}\r\n{length}\r\n\r\n")
}

const CHUNKED: &str = "transfer-encoding: chunked";

async fn write_chunk(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) {
    let size = format!("{:x}\r\n", bytes.len());
    stream.write_all(size.as_bytes()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream.write_all(b"\r\n").await.unwrap();
}

/// Sends a request to a server that answers with these bytes and closes. Returns the request's head
/// and the response.
async fn ask(request: Request<Bytes>, answer: Vec<u8>) -> (String, Response<ResponseBody>) {
    let (listener, port) = listen().await;
    let transport = DirectTransport::over(move |_| TcpStream::connect(("127.0.0.1", port)));
    let serve = async {
        let mut stream = accept(&listener).await;
        let head = read_head(&mut stream).await;
        stream.write_all(&answer).await.unwrap();
        head
    };
    let (response, head) = tokio::join!(soon(transport.connect(request)), serve);
    (head, response.unwrap())
}

fn request() -> Request<Bytes> {
    Request::get("http://a.test/").body(Bytes::new()).unwrap()
}

async fn collected(body: ResponseBody) -> Result<Bytes, TransportError> {
    Ok(soon(body.collect()).await?.to_bytes())
}

/// The decoded body of these bytes in this encoding, sent in chunks of this size.
async fn decoded(codec: &str, bytes: &[u8], size: usize) -> Result<Bytes, TransportError> {
    let mut answer = head_of(200, codec, CHUNKED).into_bytes();
    for chunk in bytes.chunks(size) {
        write_chunk(&mut answer, chunk).await;
    }
    answer.extend(b"0\r\n\r\n");
    let (_, response) = ask(request(), answer).await;
    assert!(!response.headers().contains_key(CONTENT_ENCODING));
    collected(response.into_body()).await
}

async fn check_error(codec: &str, bytes: &[u8]) {
    let error = decoded(codec, bytes, 1024).await;
    let error = error.expect_err(&format!("{codec}: {bytes:?}")).to_string();
    assert_eq!(
        error, "the server sent a body that is not in the content encoding that it names",
        "{codec}"
    );
}

/// Sends each event after the previous one was received, as a member of its own or not, in chunks
/// of `size` bytes.
async fn check_flushed(codec: &str, is_member: bool, size: usize) {
    let (client, mut server) = duplex(1024);
    let client = std::sync::Mutex::new(Some(client));
    let transport = DirectTransport::over(move |_| {
        let client = client.lock().unwrap().take().unwrap();
        async { Ok(client) }
    });
    let (session, ()) = tokio::join!(open(&transport, "http://a.test/"), async {
        read_head(&mut server).await;
        let head = head_of(200, codec, CHUNKED);
        server.write_all(head.as_bytes()).await.unwrap();
    });
    let mut session = session.unwrap();
    let mut encoder = Encoder::new(codec);
    for n in 0..5 {
        let text = format!("event {n} {}", "é".repeat(n * 100));
        let event = format!("data: {text}\n\n");
        let bytes = if is_member {
            encoded(codec, &event).await
        } else {
            encoder.flushed(&event).await
        };
        let send = async {
            for chunk in bytes.chunks(size) {
                write_chunk(&mut server, chunk).await;
            }
        };
        let (received, ()) = tokio::join!(next(&mut session), send);
        assert_eq!(received, Ok(Some(text)), "{codec}");
    }
    if !is_member {
        write_chunk(&mut server, &encoder.end().await).await;
    }
    server.write_all(b"0\r\n\r\n").await.unwrap();
    assert_eq!(next(&mut session).await, Ok(None), "{codec}");
}

#[tokio::test]
async fn an_event_is_delivered_as_soon_as_it_is_flushed() {
    for size in [1, 7, usize::MAX] {
        for codec in CODECS {
            check_flushed(codec, false, size).await;
        }
        check_flushed("gzip", true, size).await;
        check_flushed("zstd", true, size).await;
    }
}

#[tokio::test]
async fn encoded_text_decodes_to_itself() {
    let text: String = (0..50_000).map(|n| format!("data: {n}\n\n")).collect();
    for codec in CODECS {
        let bytes = encoded(codec, &text).await;
        for size in [10, 1000, usize::MAX] {
            assert_eq!(
                decoded(codec, &bytes, size).await.unwrap(),
                text,
                "{codec} {size}"
            );
        }
        assert_eq!(decoded(codec, b"", 1).await.unwrap(), "", "{codec}");
    }
}

#[tokio::test]
async fn a_cut_or_garbled_body_is_an_error() {
    for codec in CODECS {
        let bytes = encoded(codec, "data: a\n\n").await;
        for cut in 1..bytes.len() {
            check_error(codec, &bytes[..cut]).await;
        }
        check_error(codec, &[&bytes[..], b"data: b\n\n"].concat()).await;
        check_error(codec, b"data: a\n\ndata: b\n\n").await;
    }
}

#[tokio::test]
async fn events_before_an_error_are_delivered() {
    for codec in CODECS {
        for garbage in [&b""[..], &[0xff; 32]] {
            let mut answer = head_of(200, codec, CHUNKED).into_bytes();
            let event = Encoder::new(codec).flushed("data: hello\n\n").await;
            write_chunk(&mut answer, &event).await;
            // An empty chunk is the last one.
            write_chunk(&mut answer, garbage).await;
            let (_, response) = ask(request(), answer).await;
            let mut body = response.into_body();
            let frame = soon(body.frame()).await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), "data: hello\n\n", "{codec}");
            soon(body.frame()).await.unwrap().unwrap_err();
            assert!(soon(body.frame()).await.is_none(), "{codec}");
        }
    }
}

#[tokio::test]
async fn a_cut_connection_is_an_error_even_after_a_complete_encoding() {
    for codec in CODECS {
        let mut answer = head_of(200, codec, CHUNKED).into_bytes();
        write_chunk(&mut answer, &encoded(codec, "data: hello\n\n").await).await;
        let (_, response) = ask(request(), answer).await;
        assert!(collected(response.into_body()).await.is_err(), "{codec}");
    }
}

#[tokio::test]
async fn windows_over_the_limit_are_refused() {
    let text = "data: a\n\n".repeat(1000);
    let mut brotli = brotli::EncoderParams::default();
    brotli = brotli.window_size(24);
    let mut encoder = BrotliEncoder::with_params(Vec::new(), brotli);
    encoder.write_all(text.as_bytes()).await.unwrap();
    encoder.shutdown().await.unwrap();
    assert_eq!(decoded("br", encoder.get_ref(), 100).await.unwrap(), text);
    // An empty stream with a window of 30 bits.
    check_error("br", &[0x11, 0xde]).await;

    for (window, is_accepted) in [(23, true), (24, false)] {
        let window = [CParameter::window_log(window)];
        let mut encoder = ZstdEncoder::with_quality_and_params(Vec::new(), Level::Fastest, &window);
        encoder.write_all(text.as_bytes()).await.unwrap();
        encoder.flush().await.unwrap();
        encoder.shutdown().await.unwrap();
        assert_eq!(
            decoded("zstd", encoder.get_ref(), 100).await.is_ok(),
            is_accepted
        );
    }
}

#[tokio::test]
async fn the_accepted_codings_are_ours_or_the_callers() {
    let identity = || head_of(200, "identity", "cache-control: no-store").into_bytes();
    let (head, _) = ask(request(), identity()).await;
    assert!(
        head.contains("accept-encoding: gzip, br, zstd\r\n"),
        "{head}"
    );

    let mut own = request();
    own.headers_mut()
        .insert(ACCEPT_ENCODING, "identity".parse().unwrap());
    let (head, _) = ask(own.clone(), identity()).await;
    assert!(head.contains("accept-encoding: identity\r\n"), "{head}");
    assert_eq!(head.matches("accept-encoding").count(), 1, "{head}");

    // A known coding is decoded even if the caller accepted it; an unknown one is left to the caller.
    let mut answer = head_of(200, "GZIP", "cache-control: no-store").into_bytes();
    answer.extend(encoded("gzip", "data: a\n\n").await);
    let (_, response) = ask(own.clone(), answer).await;
    assert_eq!(
        collected(response.into_body()).await.unwrap(),
        "data: a\n\n"
    );
    let answer = head_of(200, "deflate", "content-length: 2") + "xy";
    let (_, response) = ask(own, answer.into_bytes()).await;
    assert_eq!(response.headers()[CONTENT_ENCODING], "deflate");
    assert_eq!(collected(response.into_body()).await.unwrap(), "xy");
}

#[tokio::test]
async fn the_head_describes_the_decoded_body() {
    let bytes = encoded("gzip", "gone").await;
    let length = format!("content-length: {}", bytes.len());
    let mut answer = head_of(404, "x-gzip", &length).into_bytes();
    answer.extend(bytes);
    let (_, response) = ask(request(), answer).await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    assert!(!response.headers().contains_key(CONTENT_ENCODING));
    assert!(!response.headers().contains_key(CONTENT_LENGTH));
    assert_eq!(collected(response.into_body()).await.unwrap(), "gone");
}

#[tokio::test]
async fn two_codings_are_decoded_one_after_the_other() {
    for first in CODECS {
        for second in CODECS {
            let mut encoder = Encoder::new(second);
            encoder
                .writer()
                .write_all(&encoded(first, "data: a\n\n").await)
                .await
                .unwrap();
            let bytes = encoder.end().await;
            for list in [
                format!("{first}, {second}"),
                format!("{first}\r\ncontent-encoding: none, {second}"),
            ] {
                let text = decoded(&list, &bytes, 3).await.unwrap();
                assert_eq!(text, "data: a\n\n", "{list}");
            }
        }
    }
}

#[tokio::test]
async fn a_coding_that_is_not_decoded_stays_in_the_head() {
    let gzip = encoded("gzip", "xy").await;
    for (list, bytes, left) in [
        ("deflate", b"xy".to_vec(), &["deflate"][..]),
        ("br, none, deflate", b"xy".to_vec(), &["br", "deflate"]),
        ("deflate, gzip", gzip.clone(), &["deflate"]),
        ("utf-8, x-gzip", gzip.clone(), &[]),
        ("none", b"xy".to_vec(), &[]),
    ] {
        let length = format!("content-length: {}", bytes.len());
        let answer = [head_of(404, list, &length).into_bytes(), bytes].concat();
        let (_, response) = ask(request(), answer).await;
        let found: Vec<_> = response
            .headers()
            .get_all(CONTENT_ENCODING)
            .iter()
            .collect();
        assert_eq!(found, left, "{list}");
        assert_eq!(
            collected(response.into_body()).await.unwrap(),
            "xy",
            "{list}"
        );
    }
    // Of more than two codings, the rest stays.
    let mut bytes = gzip.clone();
    for _ in 0..2 {
        let mut encoder = Encoder::new("gzip");
        encoder.writer().write_all(&bytes).await.unwrap();
        bytes = encoder.end().await;
    }
    let length = format!("content-length: {}", bytes.len());
    let answer = [
        head_of(200, "gzip, gzip, gzip", &length).into_bytes(),
        bytes,
    ]
    .concat();
    let (_, response) = ask(request(), answer).await;
    assert_eq!(response.headers()[CONTENT_ENCODING], "gzip");
    assert_eq!(collected(response.into_body()).await.unwrap(), gzip);
}

#[tokio::test]
async fn an_empty_body_is_in_no_coding() {
    let answer = head_of(200, "br", "content-length: 0").into_bytes();
    let (_, response) = ask(request(), answer).await;
    assert!(!response.headers().contains_key(CONTENT_ENCODING));
    assert_eq!(collected(response.into_body()).await.unwrap(), "");
}
