//! The cost of an idle session: allocated bytes and tasks.
//!
//! It is a program of its own, as counting takes time that the other benches would measure.

use std::alloc::System;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use cap::Cap;
use futures::FutureExt;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response};
use http_body::{Body, Frame};
use tidings_client::{Session, SseClient};
use tidings_hyper::DirectTransport;
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

/// The most bytes that a session may take, with its connection and the pipe.
const MOST_BYTES: usize = 4 * 1024;

fn main() -> ExitCode {
    let runtime = Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime").block_on(measure())
}

async fn measure() -> ExitCode {
    let in_process = SseClient::over_service(Silence);
    let alone = cost_of(async || idle(&in_process).await).await;

    let pipe = cost_of(async || {
        let (client, server) = duplex(PIPE_BYTES);
        futures::join!(ask(client), answer(server))
    });
    let pipe = pipe.await.bytes;

    let pipes = Arc::new(Mutex::new(None));
    let client = SseClient::over(over(Arc::clone(&pipes)));
    let direct = cost_of(async || {
        let (pipe, server) = duplex(PIPE_BYTES);
        *pipes.lock().expect("nobody panics") = Some(pipe);
        futures::join!(idle(&client), answer(server))
    });
    let direct = direct.await;

    println!("{SESSIONS} idle sessions: what each has allocated, in bytes, and tasks alive.\n");
    println!("| session | in all | the pipe alone | tasks of all |");
    println!("|---|---|---|---|");
    println!("| in process | {} | 0 | {} |", alone.bytes, alone.tasks);
    println!(
        "| direct, over a pipe | {} | {pipe} | {} |",
        direct.bytes, direct.tasks
    );

    if alone.tasks + direct.tasks > 0 || alone.bytes.max(direct.bytes) > MOST_BYTES {
        eprintln!("error: wanted no task, and at most {MOST_BYTES} B");
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

/// Sends a request, and reads the head of its response.
async fn ask(mut client: DuplexStream) -> DuplexStream {
    let request = b"GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n";
    client.write_all(request).await.expect("it is read");
    let mut head = [0; HEAD.len()];
    client.read_exact(&mut head).await.expect("it is sent");
    client
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

/// The direct transport over the pipe that was last put there.
fn over(pipe: Arc<Mutex<Option<DuplexStream>>>) -> DirectTransport {
    DirectTransport::over(move |_| {
        let pipe = pipe.lock().expect("nobody panics").take();
        ready(Ok(pipe.expect("one for each session")))
    })
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
