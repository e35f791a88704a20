//! The direct transport over real sockets, against a server that sends exactly the bytes of a test.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::time::Duration;

use tidings_client::{Error, ErrorKind, Reconnect, Session, SseClient};
use tidings_hyper::DirectTransport;
use tidings_testkit::timeout::timeout;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const SOON: Duration = Duration::from_secs(10);
const CHUNKED: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
const UNTIL_CLOSE: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";

struct Server {
    listener: TcpListener,
    url: String,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!(
            "http://{}/events?a=b#fragment",
            listener.local_addr().unwrap()
        );
        Self { listener, url }
    }

    /// Accepts the next connection, and returns it with the request's head.
    async fn accept(&self) -> (TcpStream, String) {
        let (mut stream, _) = timeout(SOON, self.listener.accept())
            .await
            .unwrap()
            .unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            assert_ne!(
                timeout(SOON, stream.read_buf(&mut head))
                    .await
                    .unwrap()
                    .unwrap(),
                0
            );
        }
        (stream, String::from_utf8(head).unwrap())
    }
}

async fn open(url: &str, reconnect: Reconnect) -> Result<Session, Error> {
    let transport = DirectTransport::new().no_proxy();
    let client = SseClient::over(transport).reconnect(reconnect);
    timeout(SOON, client.get(url).open()).await.unwrap()
}

async fn next(session: &mut Session) -> Result<Option<String>, ErrorKind> {
    let event = timeout(SOON, session.try_next()).await.unwrap();
    event
        .map(|event| event.map(|event| event.text().to_owned()))
        .map_err(|error| error.kind().clone())
}

/// The events, and the error if there is one, of an answer after which the server closes.
async fn outcome(answer: &str) -> (Vec<String>, Option<ErrorKind>) {
    let server = Server::start().await;
    let serve = async {
        let (mut stream, _) = server.accept().await;
        stream.write_all(answer.as_bytes()).await.unwrap();
    };
    let read = async {
        let mut texts = Vec::new();
        let mut session = match open(&server.url, Reconnect::off()).await {
            Ok(session) => session,
            Err(error) => return (texts, Some(error.kind().clone())),
        };
        loop {
            match next(&mut session).await {
                Ok(Some(text)) => texts.push(text),
                Ok(None) => return (texts, None),
                Err(kind) => return (texts, Some(kind)),
            }
        }
    };
    tokio::join!(read, serve).0
}

#[tokio::test]
async fn events_are_delivered_as_their_chunks_arrive() {
    let server = Server::start().await;
    let (session, (mut stream, _)) = tokio::join!(open(&server.url, Reconnect::off()), async {
        let (mut stream, head) = server.accept().await;
        stream.write_all(CHUNKED.as_bytes()).await.unwrap();
        (stream, head)
    });
    let mut session = session.unwrap();
    for n in 0..3 {
        let event = format!("data: {n}\n\n");
        let chunk = format!("{:x}\r\n{event}\r\n", event.len());
        stream.write_all(chunk.as_bytes()).await.unwrap();
        assert_eq!(next(&mut session).await, Ok(Some(n.to_string())));
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    assert_eq!(next(&mut session).await, Ok(None));
}

#[tokio::test]
async fn a_request_has_each_expected_header_once() {
    let server = Server::start().await;
    let ((_, head), _session) = tokio::join!(
        async {
            let (mut stream, head) = server.accept().await;
            stream.write_all(UNTIL_CLOSE.as_bytes()).await.unwrap();
            (stream, head)
        },
        open(&server.url, Reconnect::off())
    );
    assert!(head.starts_with("GET /events?a=b HTTP/1.1\r\n"), "{head}");
    let host = format!("host: {}\r\n", server.listener.local_addr().unwrap());
    for header in [
        host.as_str(),
        "accept: text/event-stream\r\n",
        "cache-control: no-cache\r\n",
    ] {
        assert_eq!(head.matches(header).count(), 1, "{head}");
    }
    assert!(!head.contains("last-event-id"), "{head}");
}

#[tokio::test]
async fn a_complete_response_ends_the_stream_and_a_cut_one_is_an_error() {
    let a = || vec!["a".to_owned()];
    let connect = Some(ErrorKind::Connect);
    let interrupted = Some(ErrorKind::Interrupted);
    let event = "9\r\ndata: a\n\n\r\n";
    assert_eq!(
        outcome(&format!("{CHUNKED}{event}0\r\n\r\n")).await,
        (a(), None)
    );
    assert_eq!(
        outcome(&format!("{CHUNKED}{event}")).await,
        (a(), interrupted.clone())
    );
    assert_eq!(
        outcome(&format!("{CHUNKED}{event}5\r\nda")).await,
        (a(), interrupted.clone())
    );
    assert_eq!(
        outcome(&format!("{CHUNKED}{event}no size\r\n")).await,
        (a(), interrupted.clone())
    );
    assert_eq!(
        outcome(&format!("{UNTIL_CLOSE}data: a\n\n")).await,
        (a(), None)
    );
    assert_eq!(outcome("").await, (vec![], connect.clone()));
    assert_eq!(outcome("HTTP/1.1 200 O").await, (vec![], connect.clone()));
    assert_eq!(outcome("garbage\r\n\r\n").await, (vec![], connect));
}

#[tokio::test]
async fn a_cut_connection_is_resumed_over_another() {
    let server = Server::start().await;
    let serve = async {
        for n in 0..3 {
            let (mut stream, head) = server.accept().await;
            let resumes = format!("last-event-id: {}\r\n", n - 1);
            assert_eq!(head.contains("last-event-id"), n > 0, "{head}");
            assert!(n == 0 || head.contains(&resumes), "{head}");
            let event = format!("{CHUNKED}{:x}\r\nid: {n}\ndata: {n}\n\n\r\n", 15);
            stream.write_all(event.as_bytes()).await.unwrap();
        }
    };
    let read = async {
        let mut session = open(&server.url, Reconnect::fixed(1, Duration::ZERO))
            .await
            .unwrap();
        for n in 0..3 {
            assert_eq!(next(&mut session).await, Ok(Some(n.to_string())));
        }
    };
    tokio::join!(serve, read);
}

#[tokio::test]
async fn a_dropped_session_closes_its_socket() {
    let server = Server::start().await;
    let (session, (mut stream, _)) = tokio::join!(open(&server.url, Reconnect::off()), async {
        let (mut stream, head) = server.accept().await;
        stream.write_all(CHUNKED.as_bytes()).await.unwrap();
        (stream, head)
    });
    drop(session.unwrap());
    assert_eq!(
        timeout(SOON, stream.read(&mut [0]))
            .await
            .unwrap()
            .unwrap_or(0),
        0
    );
}

#[tokio::test]
async fn an_unreachable_or_unsupported_url_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let refused = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let error = open(&refused, Reconnect::off()).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Connect);
    let error = open("ftp://127.0.0.1/", Reconnect::standard())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::InvalidRequest);
}
