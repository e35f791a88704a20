//! `Server`: a server on a free port; each test decides its answers.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tidings_client::{Error, ErrorKind, RequestBuilder, Session};
use tidings_testkit::timeout::timeout;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

/// Speaks HTTP/1.1, and HTTP/2 with a client that begins with it.
pub(crate) struct Server {
    /// `http://host:port`.
    pub(crate) origin: String,
    exchanges: mpsc::UnboundedReceiver<Exchange>,
    connections: Arc<AtomicUsize>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let (sender, exchanges) = mpsc::unbounded_channel();
        let connections = Arc::new(AtomicUsize::new(0));
        let accepted = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                accepted.fetch_add(1, Ordering::Relaxed);
                let sender = sender.clone();
                tokio::spawn(async move {
                    let service = service_fn(|request| answered(request, sender.clone()));
                    let server = auto::Builder::new(TokioExecutor::new());
                    // It fails when a client disconnects, and when a test cuts it.
                    server
                        .serve_connection(TokioIo::new(stream), service)
                        .await
                        .ok();
                });
            }
        });
        Self {
            origin,
            exchanges,
            connections,
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    /// The next request.
    pub(crate) async fn next(&mut self) -> Exchange {
        soon(self.exchanges.recv()).await.unwrap()
    }

    /// Opens a session, and returns it with the server's end of its stream.
    pub(crate) async fn stream(&mut self, request: RequestBuilder) -> (Session, Stream) {
        let (session, stream) = tokio::join!(soon(request.open()), async {
            self.next().await.stream(&[])
        });
        (session.unwrap(), stream)
    }

    /// The number of connections accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

async fn answered(
    request: Request<Incoming>,
    sender: mpsc::UnboundedSender<Exchange>,
) -> io::Result<Response<Frames>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let (answer, answered) = oneshot::channel();
    let request = Request::from_parts(head, body);
    sender
        .send(Exchange { request, answer })
        .map_err(|_| io::ErrorKind::NotConnected)?;
    answered.await.map_err(io::Error::other)
}

/// A request that waits for its answer.
pub(crate) struct Exchange {
    pub(crate) request: Request<Bytes>,
    answer: oneshot::Sender<Response<Frames>>,
}

impl Exchange {
    /// Every value of a header.
    pub(crate) fn header(&self, name: &str) -> Vec<&str> {
        values(self.request.headers(), name)
    }

    pub(crate) fn answer(self, status: u16, headers: &[(&'static str, &str)]) -> Stream {
        let (frames, body) = mpsc::channel(1);
        let mut response = Response::new(Frames(body));
        *response.status_mut() = status.try_into().unwrap();
        for (name, value) in headers {
            response.headers_mut().append(*name, value.parse().unwrap());
        }
        self.answer.send(response).unwrap();
        Stream(frames)
    }

    pub(crate) fn stream(self, headers: &[(&'static str, &str)]) -> Stream {
        let event_stream = ("content-type", "text/event-stream");
        self.answer(200, &[headers, &[event_stream]].concat())
    }

    /// Answers without a body.
    pub(crate) fn redirect(self, status: u16, to: &str) {
        self.answer(status, &[("location", to)]);
    }

    /// Waits until the client cancels the request.
    pub(crate) async fn cancelled(mut self) {
        soon(self.answer.closed()).await;
    }
}

/// The body of an answer. It ends when this is dropped.
pub(crate) struct Stream(mpsc::Sender<io::Result<Bytes>>);

impl Stream {
    pub(crate) async fn send(&self, bytes: impl Into<Bytes>) {
        soon(self.0.send(Ok(bytes.into()))).await.unwrap();
    }

    /// Breaks the connection.
    pub(crate) async fn cut(self) {
        let cut = io::ErrorKind::ConnectionAborted.into();
        soon(self.0.send(Err(cut))).await.unwrap();
    }

    /// Waits until the client closes the stream.
    pub(crate) async fn closed(self) {
        soon(self.0.closed()).await;
    }
}

#[derive(Debug)]
struct Frames(mpsc::Receiver<io::Result<Bytes>>);

impl Body for Frames {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0
            .poll_recv(cx)
            .map(|bytes| bytes.map(|bytes| bytes.map(Frame::data)))
    }
}

pub(crate) fn values<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    let values = headers.get_all(name).iter();
    values.map(|value| value.to_str().unwrap()).collect()
}

/// A client as users build it, except that it ignores the proxies of the environment.
pub(crate) fn http() -> reqwest::ClientBuilder {
    reqwest::Client::builder().no_proxy()
}

/// Fails the test if the future takes longer than 10 s.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_secs(10), future).await.unwrap()
}

/// The text of the next event.
pub(crate) async fn next(session: &mut Session) -> Result<Option<String>, ErrorKind> {
    let event = soon(session.try_next()).await;
    let text = event.map(|event| event.map(|event| event.text().to_owned()));
    text.map_err(|error| error.kind().clone())
}

/// The error of a request that cannot be opened.
pub(crate) async fn refused(request: RequestBuilder) -> Error {
    soon(request.open()).await.unwrap_err()
}
