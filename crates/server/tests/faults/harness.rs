//! The harness of these tests: sessions polled by hand, servers on hyper, and a client.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tidings_server::{Event, HandlerError, Session, SessionBody, SessionOptions, SseRequest};
use tidings_testkit::connection::{Connection, Polled};
use tidings_testkit::decoding::Options;
use tidings_testkit::timeout::timeout;
use tidings_testkit::{decoding, http_server, oracle};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::TcpStream;

/// Longer than any step takes, unless it hangs.
const SOON: Duration = Duration::from_secs(60);

pub(crate) async fn within<F: Future>(what: &str, future: F) -> F::Output {
    let outcome = timeout(SOON, future).await;
    outcome.unwrap_or_else(|_| panic!("{what} hangs"))
}

/// The body of one response, as a client received it.
#[derive(Debug, Default)]
pub(crate) struct Received {
    pub(crate) bytes: Vec<u8>,
    /// The body ended, and was not cut.
    pub(crate) is_whole: bool,
}

impl Received {
    /// The events, with comments and `retry:` fields, on which the oracle and the decoder agree.
    pub(crate) fn events(&self) -> Vec<Event> {
        let options = Options {
            max_event_bytes: usize::MAX,
            ..Options::show_all()
        };
        let decoded = oracle::decode(&self.bytes, &options);
        assert_eq!(decoding::decode(&[&self.bytes], &options), decoded);
        decoded.events
    }

    pub(crate) fn texts(&self) -> Vec<String> {
        let events = self.events();
        events.iter().map(|event| event.text().to_owned()).collect()
    }
}

/// A session with this handler, whose body is polled by hand and was not polled yet.
pub(crate) fn open<F>(
    options: SessionOptions,
    handler: impl FnOnce(Session) -> F,
) -> Connection<SessionBody>
where
    F: Future<Output = Result<(), HandlerError>> + Send + 'static,
{
    let (parts, ()) = Request::new(()).into_parts();
    let request = SseRequest::new(parts).options(options);
    Connection::new(request.open(handler).into_body())
}

/// A session that is polled by hand, whose handler has passed it to the test and waits.
pub(crate) fn handed_over(options: SessionOptions) -> (Connection<SessionBody>, Arc<Session>) {
    let (hand_over, session) = std::sync::mpsc::channel();
    let mut connection = open(options, async move |session| {
        hand_over.send(Arc::new(session)).unwrap();
        std::future::pending().await
    });
    assert_eq!(connection.read(), (Vec::new(), Polled::Pending));
    (connection, session.recv().unwrap())
}

pub(crate) fn respond<F>(
    request: Request<Incoming>,
    options: SessionOptions,
    handler: impl FnOnce(Session) -> F,
) -> Response<SessionBody>
where
    F: Future<Output = Result<(), HandlerError>> + Send + 'static,
{
    let (parts, _) = request.into_parts();
    SseRequest::new(parts).options(options).open(handler)
}

/// Serves this handler over sockets.
pub(crate) async fn serve<H, F>(options: SessionOptions, handler: H) -> SocketAddr
where
    H: Fn(Session) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<(), HandlerError>> + Send + 'static,
{
    http_server::serve(move |request| respond(request, options.clone(), handler.clone())).await
}

/// A pipe of this capacity to a server with this handler.
pub(crate) fn pipe<H, F>(capacity: usize, options: SessionOptions, handler: H) -> DuplexStream
where
    H: Fn(Session) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<(), HandlerError>> + Send + 'static,
{
    let (near, far) = tokio::io::duplex(capacity);
    let respond = move |request| respond(request, options.clone(), handler.clone());
    tokio::spawn(http_server::serve_http1(far, respond));
    near
}

/// The body of the response on this stream.
pub(crate) async fn get<S>(stream: S) -> Incoming
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let handshake = hyper::client::conn::http1::handshake::<_, Empty<Bytes>>(TokioIo::new(stream));
    let (mut client, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("/events").header("host", "test");
    let request = request.body(Empty::new()).unwrap();
    let response = within("the head", client.send_request(request)).await;
    response.unwrap().into_body()
}

/// The next bytes; `None` when the body has ended or was cut.
pub(crate) async fn next(body: &mut Incoming) -> Option<Bytes> {
    let frame = within("a frame", body.frame()).await?.ok()?;
    Some(frame.into_data().unwrap())
}

/// Reads until this text has arrived.
pub(crate) async fn read_until(body: &mut Incoming, text: &str) -> Vec<u8> {
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains(text) {
        let bytes = next(body).await;
        read.extend(bytes.unwrap_or_else(|| panic!("the stream ended before {text:?}")));
    }
    read
}

/// Reads to the end or the cut.
pub(crate) async fn receive(mut body: Incoming) -> Received {
    let mut received = Received::default();
    while let Some(frame) = within("a frame", body.frame()).await {
        let Ok(frame) = frame else { return received };
        received.bytes.extend(frame.into_data().unwrap());
    }
    received.is_whole = true;
    received
}

/// The stream of this handler, as a client receives it over a socket.
pub(crate) async fn receive_all<H, F>(options: SessionOptions, handler: H) -> Received
where
    H: Fn(Session) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<(), HandlerError>> + Send + 'static,
{
    let address = serve(options, handler).await;
    receive(get(TcpStream::connect(address).await.unwrap()).await).await
}
