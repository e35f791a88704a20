//! A connection over a pipe in memory, a body that follows a script, and a look at who writes the response.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use futures_util::task::AtomicWaker;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use hyper::rt::{Read, Write};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tidings_hyper_server::{Builder, Connection, Error, HttpService, RequestBody};
use tidings_server::StreamResponse;
use tidings_testkit::timeout::timeout;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

/// How long an exchange may take.
const LIMIT: Duration = Duration::from_secs(600);

pub(crate) const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// The writer of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writer {
    Hyper,
    Ours,
}

pub(crate) const BOTH: [Writer; 2] = [Writer::Hyper, Writer::Ours];

/// The behaviour of a body at a poll.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Frame(Vec<u8>),
    /// Waits, and is woken at once.
    Yield,
    /// Waits until the test ends the body.
    Hang,
    Fail,
    Trailers,
    Panic,
}

pub(crate) fn frame(bytes: impl AsRef<[u8]>) -> Step {
    Step::Frame(bytes.as_ref().to_vec())
}

/// A body that follows a script, and ends after it.
#[derive(Debug)]
pub(crate) struct Script {
    steps: VecDeque<Step>,
    /// Knows that it has ended without a further poll.
    pub(crate) knows_its_end: bool,
    pub(crate) has_length: bool,
    pub(crate) polls: Arc<AtomicUsize>,
    pub(crate) is_dropped: Arc<AtomicBool>,
    /// Ends a `Hang`.
    pub(crate) ends: Arc<Ends>,
}

/// The end of a body that waits in [`Step::Hang`].
#[derive(Debug, Default)]
pub(crate) struct Ends {
    has_ended: AtomicBool,
    body: AtomicWaker,
}

impl Ends {
    pub(crate) fn end(&self) {
        self.has_ended.store(true, Ordering::SeqCst);
        self.body.wake();
    }
}

impl Script {
    pub(crate) fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self {
            steps: steps.into_iter().collect(),
            knows_its_end: false,
            has_length: false,
            polls: Arc::default(),
            is_dropped: Arc::default(),
            ends: Arc::default(),
        }
    }

    pub(crate) fn waits(&self) -> bool {
        let mut steps = self.steps.iter();
        steps.any(|step| matches!(step, Step::Yield | Step::Hang))
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.is_dropped.store(true, Ordering::SeqCst);
    }
}

#[derive(Debug)]
pub(crate) struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the script has failed")
    }
}

impl std::error::Error for Broken {}

impl Body for Script {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.polls.fetch_add(1, Ordering::SeqCst);
        match self.steps.pop_front() {
            None => Poll::Ready(None),
            Some(Step::Frame(bytes)) => Poll::Ready(Some(Ok(Frame::data(bytes.into())))),
            Some(Step::Trailers) => {
                let mut trailers = HeaderMap::new();
                trailers.insert("x-end", "1".parse().unwrap());
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
            Some(Step::Fail) => Poll::Ready(Some(Err(Broken))),
            Some(Step::Panic) => panic!("the script panics"),
            Some(Step::Yield) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Step::Hang) => {
                self.ends.body.register(cx.waker());
                if self.ends.has_ended.load(Ordering::SeqCst) {
                    return Poll::Ready(None);
                }
                self.steps.push_front(Step::Hang);
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.knows_its_end && self.steps.is_empty()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        if !self.has_length {
            return http_body::SizeHint::default();
        }
        let length = self.steps.iter().map(|step| match step {
            Step::Frame(bytes) => bytes.len() as u64,
            _ => 0,
        });
        http_body::SizeHint::with_exact(length.sum())
    }
}

/// A stream with this body.
pub(crate) fn stream(steps: impl IntoIterator<Item = Step>) -> Response<Script> {
    mark(Response::new(Script::new(steps)))
}

pub(crate) fn mark<B>(mut response: Response<B>) -> Response<B> {
    response.extensions_mut().insert(StreamResponse::default());
    response
}

/// The same response. hyper writes it if it has no sign of a stream.
pub(crate) fn by<B>(writer: Writer, mut response: Response<B>) -> Response<B> {
    if writer == Writer::Hyper {
        response.extensions_mut().remove::<StreamResponse>();
    }
    response
}

pub(crate) fn builder() -> Builder {
    Builder::new().timer(TokioTimer::new())
}

/// A connection that was driven.
#[derive(Debug)]
pub(crate) struct Driven<T> {
    pub(crate) client: T,
    /// `None` if the connection was still open.
    pub(crate) ended: Option<Result<(), Error>>,
    /// The connection has left hyper at least once.
    pub(crate) has_streamed: bool,
}

/// Drives a connection until the client has returned.
pub(crate) async fn drive<I, S, B, T>(
    mut connection: Connection<I, S, B>,
    client: impl Future<Output = T>,
) -> Driven<T>
where
    I: Read + Write + Unpin + Send + 'static,
    S: HttpService<B>,
    B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>> + 'static,
{
    let mut has_streamed = false;
    let mut ended = None;
    let client = {
        let server = poll_fn(|cx| {
            let poll = Pin::new(&mut connection).poll(cx);
            has_streamed |= is_streaming(&connection);
            poll
        });
        let (server, client) = (pin!(server), pin!(client));
        let both = timeout(LIMIT, select(server, client));
        match both.await.expect("the exchange ends in time") {
            Either::Left((result, client)) => {
                ended = Some(result);
                drop(connection);
                timeout(LIMIT, client)
                    .await
                    .expect("the client ends in time")
            }
            Either::Right((client, _)) => client,
        }
    };
    Driven {
        client,
        ended,
        has_streamed,
    }
}

pub(crate) fn is_streaming<I, S, B>(connection: &Connection<I, S, B>) -> bool
where
    S: HttpService<B>,
    B: Body,
{
    format!("{connection:?}").contains("streaming")
}

/// Serves one pipe with a function of the request's head.
pub(crate) async fn serve<T>(
    builder: &Builder,
    answer: impl Fn(&http::request::Parts) -> Response<Script>,
    client: impl AsyncFnOnce(DuplexStream) -> T,
) -> Driven<T> {
    let (near, far) = duplex(64 * 1024);
    let service = service_fn(|request: Request<RequestBody>| {
        let (parts, _body) = request.into_parts();
        let response = answer(&parts);
        async { Ok::<_, Infallible>(response) }
    });
    let connection = builder.serve_connection(TokioIo::new(far), service);
    drive(connection, client(near)).await
}

/// Sends these bytes, and returns everything that arrives until the connection ends or is quiet for 10 s of
/// paused time. The second is whether it has ended.
pub(crate) async fn talk(mut io: DuplexStream, request: &[u8]) -> (Vec<u8>, bool) {
    io.write_all(request).await.unwrap();
    read_until_quiet(&mut io).await
}

pub(crate) async fn read_until_quiet(io: &mut (impl AsyncRead + Unpin)) -> (Vec<u8>, bool) {
    let mut all = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match timeout(Duration::from_secs(10), io.read(&mut buffer)).await {
            Err(_) => return (all, false),
            Ok(Ok(0) | Err(_)) => return (all, true),
            Ok(Ok(count)) => all.extend_from_slice(&buffer[..count]),
        }
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The same bytes, with each date of a head replaced after its form was checked.
pub(crate) fn without_dates(bytes: &[u8]) -> Vec<u8> {
    let text: Vec<u8> = bytes.to_vec();
    let name = b"\r\ndate: ";
    let mut out = Vec::new();
    let mut rest = &text[..];
    while let Some(at) = rest.windows(name.len()).position(|window| window == name) {
        let (before, after) = rest.split_at(at + name.len());
        out.extend_from_slice(before);
        let end = after.iter().position(|byte| *byte == b'\r').unwrap();
        let date = std::str::from_utf8(&after[..end]).unwrap_or_default();
        if httpdate::parse_http_date(date).is_ok() && date.len() == 29 {
            out.extend_from_slice(b"DATE");
        } else {
            out.extend_from_slice(&after[..end]);
        }
        rest = &after[end..];
    }
    out.extend_from_slice(rest);
    out
}
