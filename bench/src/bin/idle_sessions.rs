//! The cost of an idle session: allocated bytes and tasks.
//!
//! It is a program of its own, as counting takes time that the other benches would measure.

use std::alloc::System;
use std::convert::Infallible;
use std::future::{Ready, poll_fn, ready};
use std::pin::{Pin, pin};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use cap::Cap;
use futures::FutureExt;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderValue, Request, Response};
use http_body::{Body, Frame};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tidings_client::{
    ConnectError, ResponseBody, ResponseFuture, Session, SseClient, Transport, TransportError,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::runtime::{Builder, Handle};

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

const SESSIONS: usize = 10_000;

/// The capacity of a pipe, each way, in bytes.
const PIPE_BYTES: usize = 1024;

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
    transfer-encoding: chunked\r\n\r\n";

const URL: &str = "http://localhost/events";

/// The most bytes of its own that a session may take.
const MOST_BYTES: usize = 6 * 1024;

fn main() -> ExitCode {
    let runtime = Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime").block_on(measure())
}

async fn measure() -> ExitCode {
    let in_process = SseClient::over_service(Silence);
    let alone = cost_of(async || idle(&in_process).await).await;

    let bare = cost_of(async || {
        let (pipe, server) = duplex(PIPE_BYTES);
        futures::join!(bare(pipe), answer(server))
    });
    let bare = bare.await;

    let transport = Piped::default();
    let client = SseClient::over(transport.clone());
    let piped = cost_of(async || {
        let (pipe, server) = duplex(PIPE_BYTES);
        transport.put(pipe);
        futures::join!(idle(&client), answer(server))
    });
    let piped = piped.await;
    let ours = piped.bytes.saturating_sub(bare.bytes);

    println!("{SESSIONS} idle sessions: what each has allocated, in bytes, and tasks alive.\n");
    println!("| session | tidings | hyper and the pipe | tasks of all |");
    println!("|---|---|---|---|");
    println!("| in process | {} | 0 | {} |", alone.bytes, alone.tasks);
    println!(
        "| over hyper and a pipe | {ours} | {} | {} |",
        bare.bytes, piped.tasks
    );

    let is_good = alone.tasks + piped.tasks == 0 && alone.bytes.max(ours) <= MOST_BYTES;
    if !is_good {
        eprintln!("error: wanted no task, and at most {MOST_BYTES} B of tidings");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

struct Cost {
    /// The bytes of each session.
    bytes: usize,
    /// The tasks of all sessions.
    tasks: usize,
}

async fn cost_of<T>(mut make: impl AsyncFnMut() -> T) -> Cost {
    // Allocations that are made once for all sessions do not count.
    drop(make().await);
    let before = ALLOCATOR.allocated();
    let mut made = Vec::with_capacity(SESSIONS);
    for _ in 0..SESSIONS {
        made.push(make().await);
    }
    Cost {
        bytes: (ALLOCATOR.allocated() - before) / SESSIONS,
        tasks: Handle::current().metrics().num_alive_tasks(),
    }
}

/// An open session that waits for its first event.
async fn idle(client: &SseClient) -> Session {
    let mut session = client.get(URL).open().await.expect("it is answered");
    assert!(session.next().now_or_never().is_none(), "nothing was sent");
    session
}

/// An open body that waits for its first chunk.
async fn bare(pipe: DuplexStream) -> PipedBody {
    let request = Request::get("/events").header(HOST, "localhost");
    let request = request.body(Bytes::new()).expect("a good request");
    let mut body = send(pipe, request)
        .await
        .expect("it is answered")
        .into_body();
    let frame = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx));
    assert!(frame.now_or_never().is_none(), "nothing was sent");
    body
}

/// Reads a request and sends only the head of the response.
async fn answer(mut server: DuplexStream) -> DuplexStream {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        server.read_buf(&mut request).await.expect("it is sent");
    }
    server.write_all(HEAD).await.expect("it is read");
    server
}

/// Connects hyper over the pipe that was last put here.
#[derive(Clone, Default)]
struct Piped(Arc<Mutex<Option<DuplexStream>>>);

impl Piped {
    fn put(&self, pipe: DuplexStream) {
        *self.0.lock().expect("nobody panics") = Some(pipe);
    }
}

impl Transport for Piped {
    fn connect(&self, request: Request<Bytes>) -> ResponseFuture {
        let pipe = self.0.lock().expect("nobody panics").take();
        let pipe = pipe.expect("one for each session");
        Box::pin(async move {
            let response = send(pipe, request).await.map_err(ConnectError::Network)?;
            Ok(response.map(ResponseBody::new))
        })
    }
}

async fn send(
    pipe: DuplexStream,
    request: Request<Bytes>,
) -> Result<Response<PipedBody>, TransportError> {
    let (mut sender, mut connection) = http1::handshake(TokioIo::new(pipe)).await?;
    let mut response = pin!(sender.send_request(request.map(Full::new)));
    let response = poll_fn(|cx| {
        if Pin::new(&mut connection).poll(cx).is_ready() {
            return Poll::Ready(Err("the pipe was closed".into()));
        }
        response.as_mut().poll(cx).map_err(TransportError::from)
    });
    let (head, incoming) = response.await?.into_parts();
    let body = PipedBody {
        connection,
        incoming,
    };
    Ok(Response::from_parts(head, body))
}

/// A body that polls its own connection.
struct PipedBody {
    connection: http1::Connection<TokioIo<DuplexStream>, Full<Bytes>>,
    incoming: Incoming,
}

impl Body for PipedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let Poll::Ready(Err(error)) = Pin::new(&mut self.connection).poll(cx) {
            return Poll::Ready(Some(Err(error)));
        }
        Pin::new(&mut self.incoming).poll_frame(cx)
    }
}

/// A service whose response bodies stay empty and never end.
#[derive(Clone)]
struct Silence;

impl<B> tower_service::Service<Request<B>> for Silence {
    type Response = Response<Self>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Self>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        let mut response = Response::new(Self);
        let stream = HeaderValue::from_static("text/event-stream");
        response.headers_mut().insert(CONTENT_TYPE, stream);
        ready(Ok(response))
    }
}

impl Body for Silence {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}
