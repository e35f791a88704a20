//! The direct transport against servers and proxies that the tests implement.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

#[cfg(feature = "compression")]
mod coding;
mod connecting;
mod environment;
mod heads;
mod over;
mod proxy;
#[cfg(feature = "tls")]
mod tls;
mod uploads;

use std::error::Error as StdError;
use std::future::Future;
use std::time::Duration;

use tidings_client::{Error, ErrorKind, Reconnect, Session, SseClient};
use tidings_hyper::DirectTransport;
use tidings_testkit::timeout::timeout;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;

const SOON: Duration = Duration::from_secs(10);
/// The limit of tests that wait for one to expire.
const LIMIT: Duration = Duration::from_millis(200);

const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: hello\n\n";

/// Fails the test if the future takes longer than [`SOON`].
async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(SOON, future).await.unwrap()
}

async fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

async fn accept(listener: &TcpListener) -> TcpStream {
    soon(listener.accept()).await.unwrap().0
}

/// A request's head, and nothing after it.
async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(soon(stream.read_u8()).await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// Answers one request with one event, and returns the request's head. Checks that the test itself
/// polls the client, and no task does.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> String {
    let head = read_head(&mut stream).await;
    assert_eq!(Handle::current().metrics().num_alive_tasks(), 0);
    stream.write_all(ANSWER.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    head
}

/// Waits until the client has closed.
async fn closed(stream: &mut (impl AsyncRead + Unpin)) {
    while soon(stream.read(&mut [0; 1024])).await.unwrap_or(0) > 0 {}
}

fn client(transport: DirectTransport) -> SseClient {
    SseClient::over(transport).reconnect(Reconnect::off())
}

async fn open(transport: &DirectTransport, url: &str) -> Result<Session, Error> {
    soon(client(transport.clone()).get(url).open()).await
}

/// The timeout error of a session that does not open within [`LIMIT`].
async fn open_within_limit(transport: &DirectTransport, url: &str) -> Error {
    let client = client(transport.clone()).connect_timeout(LIMIT);
    let error = soon(client.get(url).open()).await.unwrap_err();
    assert!(error.is_timeout(), "{}", chain(&error));
    error
}

async fn next(session: &mut Session) -> Result<Option<String>, ErrorKind> {
    let event = soon(session.try_next()).await;
    event
        .map(|event| event.map(|event| event.text().to_owned()))
        .map_err(|error| error.kind().clone())
}

/// Receives the one event that [`answer`] sends.
async fn receive(transport: &DirectTransport, url: &str) {
    let mut session = open(transport, url).await.unwrap();
    assert_eq!(next(&mut session).await, Ok(Some("hello".to_owned())));
    assert_eq!(next(&mut session).await, Ok(None));
}

/// All texts of an error and its causes.
fn chain(error: &Error) -> String {
    let mut chain = format!("{error:?}");
    let mut cause: Option<&dyn StdError> = Some(error);
    while let Some(error) = cause {
        chain += &format!(": {error}");
        cause = error.source();
    }
    chain
}

/// Expects a connect error that contains this text and no secret.
fn check_failed(error: &Error, text: &str) {
    let chain = chain(error);
    assert!(error.is_connect(), "{chain}");
    assert!(chain.contains(text), "{text:?}: {chain}");
    assert!(!chain.contains("secret"), "{chain}");
}
