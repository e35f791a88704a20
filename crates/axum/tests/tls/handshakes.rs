//! The beginning of a connection: which clients are served, answered or closed, and until when.

use std::time::Duration;

use axum::routing::get;
use axum::{Extension, Router};
use rustls::version::{TLS12, TLS13};
use rustls::{HandshakeKind, ProtocolVersion};
use tidings_axum::{Drain, OverTls};
use tidings_testkit::timeout::timeout;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::app::{Client, SLACK, SOON, Server};
use crate::pipes::{PipeServer, read_for};
use crate::trust::{Authority, connect, read_to_close};

const SECOND: Duration = Duration::from_secs(1);

/// A route that says whether its request came over TLS.
fn router() -> Router {
    let scheme = async |over_tls: Option<Extension<OverTls>>| match over_tls {
        Some(Extension(OverTls { .. })) => "over TLS",
        None => "in the clear",
    };
    Router::new().route("/", get(scheme))
}

async fn get_text(io: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin, text: &str) {
    Client::over(io, "/").await.read_until(text).await;
}

/// The first bytes of a client: a hello that waits for its answer.
async fn client_hello(authority: &Authority) -> Vec<u8> {
    let (mut near, far) = duplex(1 << 16);
    let client = authority.client(&[]);
    let shaking = tokio::spawn(async move { connect(&client, far).await.map(drop) });
    let mut hello = vec![0; 16_000];
    let read = timeout(SOON, near.read(&mut hello)).await.unwrap().unwrap();
    drop(near);
    shaking.await.unwrap().unwrap_err();
    hello.truncate(read);
    hello
}

#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken_and_handlers_know() {
    let authority = Authority::new("a");
    let server = PipeServer::start(router(), |serve| serve.tls(&authority.tls()));
    for (version, expected) in [
        (&TLS12, ProtocolVersion::TLSv1_2),
        (&TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let client = authority.client_of(&["http/1.1"], &[version]);
        let stream = connect(&client, server.connect()).await.unwrap();
        let (_, tls) = stream.get_ref();
        assert_eq!(tls.protocol_version(), Some(expected));
        get_text(stream, "over TLS").await;
    }
    let plain = PipeServer::start(router(), |serve| serve);
    get_text(plain.connect(), "in the clear").await;
}

#[tokio::test]
async fn the_handshake_decides_the_protocol() {
    let authority = Authority::new("a");
    let tls = authority.tls();
    let cases: [(bool, &[&str], Option<&str>); 6] = [
        (false, &["http/1.1"], Some("http/1.1")),
        (false, &["h2", "http/1.1"], Some("http/1.1")),
        (false, &[], None),
        (true, &["http/1.1"], Some("http/1.1")),
        (true, &["http/1.1", "h2"], Some("h2")),
        (true, &[], None),
    ];
    for (http2, offered, expected) in cases {
        let server = PipeServer::start(router(), |serve| serve.tls(&tls).http2(http2));
        let client = authority.client(offered);
        let mut stream = connect(&client, server.connect()).await.unwrap();
        let chosen = stream.get_ref().1.alpn_protocol();
        assert_eq!(chosen, expected.map(str::as_bytes), "{http2} {offered:?}");
        if expected == Some("h2") {
            stream
                .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
                .await
                .unwrap();
            stream
                .write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0])
                .await
                .unwrap();
            let mut frame = [0; 9];
            timeout(SOON, stream.read_exact(&mut frame))
                .await
                .unwrap()
                .unwrap();
            assert_eq!(frame[3], 4, "SETTINGS");
        } else {
            get_text(stream, "over TLS").await;
        }
    }
}

#[tokio::test]
async fn a_client_that_chose_http_1_cannot_begin_with_http_2() {
    let authority = Authority::new("a");
    let server = PipeServer::start(router(), |serve| serve.tls(&authority.tls()).http2(true));
    let mut stream = connect(&authority.client(&[]), server.connect())
        .await
        .unwrap();
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    timeout(SOON, stream.read_to_string(&mut answer))
        .await
        .unwrap()
        .ok();
    assert!(
        answer.starts_with("HTTP/1.1 400 ") || answer.is_empty(),
        "{answer:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn http_without_tls_is_answered_400() {
    let authority = Authority::new("a");
    let server = PipeServer::start(router(), |serve| serve.tls(&authority.tls()));
    let post = format!("POST / HTTP/1.1\r\nhost: a\r\n\r\n{}", "x".repeat(30_000));
    for request in [
        "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\n",
        &post,
    ] {
        let mut pipe = server.connect();
        pipe.write_all(request.as_bytes()).await.unwrap();
        let (answer, is_closed) = read_for(&mut pipe, 2 * SECOND).await;
        assert!(
            answer.starts_with("HTTP/1.1 400 Bad Request\r\n"),
            "{answer:?}"
        );
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert_eq!(body, "this port speaks HTTPS\r\n");
        assert!(
            head.ends_with(&format!("content-length: {}", body.len())),
            "{head}"
        );
        assert!(is_closed);
    }
    // One byte of a request, and then nothing.
    let mut pipe = server.connect();
    let start = Instant::now();
    pipe.write_all(b"G").await.unwrap();
    assert_eq!(read_for(&mut pipe, 2 * SECOND).await, (String::new(), true));
    assert!(start.elapsed() <= 2 * SECOND);
}

#[tokio::test]
async fn what_is_neither_tls_nor_http_is_closed() {
    let authority = Authority::new("a");
    let server = PipeServer::start(router(), |serve| serve.tls(&authority.tls()));
    let sslv2: &[u8] = &[0x80, 46, 1, 3, 1];
    // Records of a handshake with wrong versions, lengths and messages.
    let records: [&[u8]; 5] = [
        &[22, 3, 1, 0, 0],
        &[22, 9, 9, 0, 5, 1, 0, 0, 1, 3],
        &[22, 3, 1, 255, 255],
        &[22, 3, 1, 0, 4, 1, 0, 0, 0],
        &[22, 3, 1, 0, 4, 2, 0, 0, 0],
    ];
    let others: [&[u8]; 4] = [b"\0\0\0\0", b"\xff\xff", b"SSH-2.0-x\r\n", sslv2];
    for sent in records.into_iter().chain(others) {
        let mut pipe = server.connect();
        // It may be closed already.
        pipe.write_all(sent).await.ok();
        let read = read_to_close(&mut pipe).await;
        let is_alert = read.is_empty() || read[0] == 21;
        assert!(
            is_alert || read.starts_with(b"HTTP/1.1 400 "),
            "{sent:?}: {read:?}"
        );
    }
    let stream = connect(&authority.client(&[]), server.connect())
        .await
        .unwrap();
    get_text(stream, "over TLS").await;
}

#[tokio::test]
async fn a_failed_handshake_ends_only_its_connection() {
    let authority = Authority::new("a");
    let server = PipeServer::start(router(), |serve| serve.tls(&authority.tls()));
    let unknown = Authority::new("b");
    connect(&unknown.client(&[]), server.connect())
        .await
        .unwrap_err();
    connect(&authority.client(&["gopher"]), server.connect())
        .await
        .unwrap_err();
    for length in [0, 1, 5, 50] {
        let hello = client_hello(&authority).await;
        let mut pipe = server.connect();
        pipe.write_all(&hello[..length]).await.unwrap();
        drop(pipe);
    }
    let stream = connect(&authority.client(&[]), server.connect())
        .await
        .unwrap();
    get_text(stream, "over TLS").await;
    assert!(!server.ended.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_is_not_over_after_thirty_seconds_is_cut() {
    let authority = Authority::new("a");
    let hello = client_hello(&authority).await;
    let server = PipeServer::start(router(), |serve| serve.tls(&authority.tls()).http2(true));
    for sent in [0, 1, 2, 5, 100, hello.len()] {
        let mut pipe = server.connect();
        let start = Instant::now();
        pipe.write_all(&hello[..sent]).await.unwrap();
        read_to_close(&mut pipe).await;
        assert_eq!(start.elapsed().as_secs(), 30, "{sent}");
    }
    // One byte a second never resets the time.
    let mut pipe = server.connect();
    let start = Instant::now();
    for byte in hello {
        if pipe.write_all(&[byte]).await.is_err() {
            break;
        }
        assert!(start.elapsed() < 60 * SECOND, "the connection is open");
        sleep(SECOND).await;
    }
    assert!(
        (30..=31).contains(&start.elapsed().as_secs()),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_silent_after_its_handshake_is_cut() {
    let authority = Authority::new("a");
    let server = PipeServer::start(router(), |serve| serve.tls(&authority.tls()).http2(true));
    for protocol in ["http/1.1", "h2"] {
        let mut stream = connect(&authority.client(&[protocol]), server.connect())
            .await
            .unwrap();
        let start = Instant::now();
        read_to_close(&mut stream).await;
        assert_eq!(start.elapsed().as_secs(), 30, "{protocol}");
    }
}

#[tokio::test(start_paused = true)]
async fn five_hundred_half_way_handshakes_delay_nobody_and_are_cut() {
    let authority = Authority::new("a");
    let hello = client_hello(&authority).await;
    let drain = Drain::new();
    let server = PipeServer::start(router(), |serve| serve.tls(&authority.tls()).drain(&drain));
    let mut half_way: Vec<DuplexStream> = Vec::new();
    for number in 0..500 {
        let mut pipe = server.connect();
        pipe.write_all(&hello[..number % hello.len()])
            .await
            .unwrap();
        half_way.push(pipe);
    }
    let start = Instant::now();
    for _ in 0..10 {
        let stream = connect(&authority.client(&[]), server.connect())
            .await
            .unwrap();
        get_text(stream, "over TLS").await;
    }
    assert!(
        start.elapsed() < SECOND,
        "the clock runs only while all wait"
    );
    sleep(31 * SECOND).await;
    assert_eq!(drain.open_connections(), 0);
    drop(half_way);
}

#[tokio::test]
async fn a_drain_cuts_handshakes_at_once() {
    let authority = Authority::new("a");
    let hello = client_hello(&authority).await;
    let drain = Drain::new();
    let mut server = Server::start(|serve| serve.tls(&authority.tls()).drain(&drain)).await;
    let mut open = Vec::new();
    for sent in [0, 1, 20, hello.len()] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(&hello[..sent]).await.unwrap();
        open.push(stream);
    }
    let accepted = async {
        while drain.open_connections() < open.len() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(SOON, accepted).await.unwrap();
    let start = Instant::now();
    drain.start();
    server.end().await;
    assert!(start.elapsed() < SLACK, "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_client_resumes_its_tls_session_until_the_certificate_is_replaced() {
    let authority = Authority::new("a");
    let tls = authority.tls();
    let server = PipeServer::start(router(), |serve| serve.tls(&tls));
    for version in [&TLS12, &TLS13] {
        let client = authority.client_of(&[], &[version]);
        let mut kinds = Vec::new();
        for number in 0..4 {
            if number == 3 {
                authority.issue().replace(&tls);
            }
            let stream = connect(&client, server.connect()).await.unwrap();
            let kind = stream.get_ref().1.handshake_kind().unwrap();
            kinds.push(kind == HandshakeKind::Resumed);
            // The tickets of TLS 1.3 arrive with the first bytes.
            get_text(stream, "over TLS").await;
        }
        assert_eq!(kinds, [false, true, true, false], "{version:?}");
    }
}
