//! What the tests share: a server on hyper, and a client that hears it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tidings_proto::Event;
use tidings_server::{HandlerError, Session, SessionBody, SessionOptions, SseRequest};
use tidings_testkit::decoding::Options;
use tidings_testkit::{decoding, oracle};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Nothing here takes so long, unless it hangs.
const SOON: Duration = Duration::from_secs(60);

pub(crate) async fn within<F: Future>(what: &str, future: F) -> F::Output {
    let outcome = timeout(SOON, future).await;
    outcome.unwrap_or_else(|_| panic!("{what} hangs"))
}

/// What is heard of one response.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) bytes: Vec<u8>,
    /// It ended, and was not cut.
    pub(crate) is_whole: bool,
}

impl Heard {
    /// The events, comments and reconnection times included, as the oracle and the decoder agree.
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

/// Answers requests on any number of connections with this handler.
pub(crate) async fn serve<H, F>(options: SessionOptions, handler: H) -> SocketAddr
where
    H: Fn(Session) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<(), HandlerError>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(answer(stream, options.clone(), handler.clone()));
        }
    });
    address
}

/// A pipe that holds so many bytes, to a server with this handler.
pub(crate) fn pipe<H, F>(capacity: usize, options: SessionOptions, handler: H) -> DuplexStream
where
    H: Fn(Session) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<(), HandlerError>> + Send + 'static,
{
    let (near, far) = tokio::io::duplex(capacity);
    tokio::spawn(answer(far, options, handler));
    near
}

async fn answer<S, H, F>(stream: S, options: SessionOptions, handler: H)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    H: Fn(Session) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<(), HandlerError>> + Send + 'static,
{
    let service = service_fn(move |request| {
        let response = respond(request, options.clone(), handler.clone());
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // A stream that breaks is an error here, and for the client to see.
    drop(connection.await);
}

/// The body of the answer on this stream.
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

/// The next bytes; `None` at the end, however it came.
pub(crate) async fn next(body: &mut Incoming) -> Option<Bytes> {
    let frame = within("a frame", body.frame()).await?.ok()?;
    Some(frame.into_data().unwrap())
}

/// Reads until this text has come.
pub(crate) async fn read_until(body: &mut Incoming, text: &str) -> Vec<u8> {
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains(text) {
        let bytes = next(body).await;
        read.extend(bytes.unwrap_or_else(|| panic!("the stream ended before {text:?}")));
    }
    read
}

/// Reads to the end.
pub(crate) async fn hear(mut body: Incoming) -> Heard {
    let mut heard = Heard::default();
    while let Some(frame) = within("a frame", body.frame()).await {
        let Ok(frame) = frame else { return heard };
        heard.bytes.extend(frame.into_data().unwrap());
    }
    heard.is_whole = true;
    heard
}

/// What a client hears of this handler, over a socket of its own.
pub(crate) async fn hear_all<H, F>(options: SessionOptions, handler: H) -> Heard
where
    H: Fn(Session) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<(), HandlerError>> + Send + 'static,
{
    let address = serve(options, handler).await;
    hear(get(TcpStream::connect(address).await.unwrap()).await).await
}
