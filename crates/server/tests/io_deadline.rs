//! Deadlines of connections, over pipes and hyper, mostly on paused time.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tidings_server::{Drain, Drained, Event, IoDeadline, SseRequest};
use tidings_testkit::timeout::timeout;
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex, split,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);
const SOON: Duration = Duration::from_secs(20);

/// Fails unless the result is a timeout with this reason.
fn assert_timed_out<T: std::fmt::Debug>(result: io::Result<T>, why: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(error.to_string().contains(why), "{error}");
}

/// Serves one connection with a handler that sends without end. The task returns how the connection
/// ended.
fn flood<IO>(io: IO) -> (JoinHandle<hyper::Result<()>>, Flood)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (alive, is_dropped) = oneshot::channel::<()>();
    let sent = Arc::new(AtomicUsize::new(0));
    let flood = Flood {
        is_dropped,
        sent: sent.clone(),
    };
    let alive = std::sync::Mutex::new(Some(alive));
    let service = service_fn(move |request: Request<Incoming>| {
        let (parts, _) = request.into_parts();
        let alive = alive.lock().unwrap().take();
        let sent = sent.clone();
        let response = SseRequest::new(parts).open(async move |session| {
            let _alive = alive;
            loop {
                session.send(Event::new("x".repeat(1000))).await?;
                sent.fetch_add(1, Ordering::Relaxed);
            }
        });
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(io), service);
    (tokio::spawn(connection), flood)
}

struct Flood {
    is_dropped: oneshot::Receiver<()>,
    sent: Arc<AtomicUsize>,
}

fn is_timed_out(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error);
    let source = source.and_then(|source| source.downcast_ref::<io::Error>());
    source.is_some_and(|source| source.kind() == io::ErrorKind::TimedOut)
}

async fn ask(io: &mut (impl AsyncWrite + Unpin)) {
    io.write_all(b"GET /events HTTP/1.1\r\nhost: test\r\n\r\n")
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_stops_reading_is_cut_and_its_handler_dropped() {
    let (mut near, far) = duplex(4096);
    let (connection, flood) = flood(IoDeadline::new(far));
    ask(&mut near).await;
    near.read_exact(&mut [0; 1000]).await.unwrap();
    let stopped = Instant::now();
    let error = connection.await.unwrap().unwrap_err();
    assert!(is_timed_out(&error), "{error:?}");
    assert_eq!(stopped.elapsed().as_secs(), 30);
    flood.is_dropped.await.unwrap_err();
    let sent = flood.sent.load(Ordering::Relaxed);
    assert!(sent < 1000, "the handler did not wait, and sent {sent} kB");
    drop(near);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_a_byte_a_second_stays_and_slows_its_handler() {
    let (mut near, far) = duplex(4096);
    let (connection, flood) = flood(IoDeadline::new(far).write_deadline(2 * SECOND));
    ask(&mut near).await;
    for _ in 0..600 {
        near.read_u8().await.unwrap();
        sleep(SECOND).await;
    }
    assert!(!connection.is_finished(), "each byte restarts the deadline");
    let sent = flood.sent.load(Ordering::Relaxed);
    assert!(
        sent < 1000,
        "the handler sent {sent} kB to a peer that read 600 bytes"
    );
    let stopped = Instant::now();
    let error = connection.await.unwrap().unwrap_err();
    assert!(is_timed_out(&error), "{error:?}");
    assert!(stopped.elapsed() <= 2 * SECOND);
    flood.is_dropped.await.unwrap_err();
}

#[tokio::test]
async fn a_socket_read_byte_by_byte_is_cut_while_its_buffer_stays_full() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut near = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (far, _) = listener.accept().await.unwrap();
    let guarded = IoDeadline::new(far).write_deadline(SECOND / 2);
    let (connection, flood) = flood(guarded);
    ask(&mut near).await;
    let reader = tokio::spawn(async move {
        while near.read_u8().await.is_ok() {
            sleep(SECOND / 50).await;
        }
    });
    let error = timeout(SOON, connection).await.unwrap();
    let error = error.unwrap().unwrap_err();
    assert!(is_timed_out(&error), "{error:?}");
    flood.is_dropped.await.unwrap_err();
    reader.abort();
}

#[tokio::test(start_paused = true)]
async fn each_byte_taken_restarts_the_write_deadline() {
    let (mut near, far) = duplex(10);
    let mut far = IoDeadline::new(far).write_deadline(10 * SECOND);
    let start = Instant::now();
    let writer = tokio::spawn(async move {
        let result = far.write_all(&[0; 100]).await;
        (result, Instant::now(), far)
    });
    for _ in 0..3 {
        sleep(9 * SECOND).await;
        near.read_u8().await.unwrap();
    }
    let (result, ended, mut far) = writer.await.unwrap();
    assert_timed_out(result, "took no byte for 10s");
    assert_eq!((ended - start).as_secs(), 3 * 9 + 10);
    // When the peer reads again, writes succeed again.
    near.read_exact(&mut [0; 10]).await.unwrap();
    assert_eq!(far.write(&[0; 100]).await.unwrap(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_ready_flush_does_not_restart_the_deadline_of_a_waiting_write() {
    let (_near, far) = duplex(10);
    let mut far = IoDeadline::new(far).write_deadline(10 * SECOND);
    far.write_all(&[0; 10]).await.unwrap();
    let start = Instant::now();
    loop {
        // A caller that cancels the write, flushes, and tries again, every second.
        match timeout(SECOND, far.write(&[0; 10])).await {
            Ok(result) => {
                assert_timed_out(result, "took no byte");
                break;
            }
            Err(_) => far.flush().await.unwrap(),
        }
    }
    assert_eq!(start.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn the_longest_deadlines_never_pass() {
    let (mut near, far) = duplex(10);
    let mut far = IoDeadline::new(far)
        .write_deadline(Duration::MAX)
        .lifetime(Duration::MAX);
    let writer = tokio::spawn(async move { far.write_all(&[0; 20]).await });
    sleep(1_000_000 * SECOND).await;
    near.read_exact(&mut [0; 20]).await.unwrap();
    writer.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn after_the_lifetime_new_and_waiting_reads_and_writes_fail() {
    let (_near, far) = duplex(10);
    let mut far = IoDeadline::new(far).lifetime(5 * SECOND);
    let start = Instant::now();
    assert_timed_out(far.read_u8().await, "lifetime");
    assert_eq!(start.elapsed().as_secs(), 5);
    assert_timed_out(far.write_all(b"x").await, "lifetime");
    assert_timed_out(far.flush().await, "lifetime");
    assert_timed_out(far.shutdown().await, "lifetime");

    let (_near, far) = duplex(10);
    let mut far = IoDeadline::new(far).lifetime(5 * SECOND);
    let start = Instant::now();
    assert_timed_out(far.write_all(&[0; 20]).await, "lifetime");
    assert_eq!(start.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn the_write_deadline_and_the_lifetime_apply_together() {
    let (mut near, far) = duplex(10);
    let mut far = IoDeadline::new(far)
        .lifetime(60 * SECOND)
        .write_deadline(20 * SECOND);
    let start = Instant::now();
    assert_timed_out(far.write_all(&[0; 20]).await, "took no byte");
    assert_eq!(start.elapsed().as_secs(), 20);
    // The peer reads again, and the same timer is set for the next deadline, first one kind, then the
    // other.
    near.read_exact(&mut [0; 10]).await.unwrap();
    far.write_all(&[0; 10]).await.unwrap();
    sleep(10 * SECOND).await;
    assert_timed_out(far.write_all(&[0; 10]).await, "took no byte");
    assert_eq!(start.elapsed().as_secs(), 50);
    near.read_exact(&mut [0; 10]).await.unwrap();
    far.write_all(&[0; 10]).await.unwrap();
    assert_timed_out(far.write_all(&[0; 10]).await, "lifetime");
    assert_eq!(start.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn a_drain_cuts_both_halves_of_a_split_connection() {
    let drain = Drain::new().deadline(3 * SECOND);
    let (_near, far) = duplex(10);
    let (mut reader, mut writer) = split(IoDeadline::new(far).drain(&drain));
    let reader = tokio::spawn(async move { reader.read_u8().await });
    let writer = tokio::spawn(async move { writer.write_all(&[0; 20]).await });
    sleep(SECOND).await;
    assert!(!reader.is_finished() && !writer.is_finished());
    assert_eq!(drain.open_connections(), 1);
    let start = Instant::now();
    drain.start();
    assert_timed_out(reader.await.unwrap(), "drain");
    assert_eq!(start.elapsed().as_secs(), 3);
    assert_timed_out(writer.await.unwrap(), "drain");
    assert_eq!(start.elapsed().as_secs(), 3);
    assert_eq!(drain.open_connections(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_moves_to_another_task_is_cut_there() {
    let drain = Drain::new().deadline(SECOND);
    let (_near, far) = duplex(10);
    let mut far = IoDeadline::new(far).drain(&drain);
    timeout(SECOND, far.read_u8()).await.unwrap_err();
    let reader = tokio::spawn(async move { far.read_u8().await });
    tokio::task::yield_now().await;
    drain.start();
    assert_timed_out(reader.await.unwrap(), "drain");
}

#[tokio::test(start_paused = true)]
async fn a_connection_opened_after_the_start_is_cut_at_the_same_deadline() {
    let drain = Drain::new().deadline(5 * SECOND);
    let start = Instant::now();
    drain.start();
    sleep(2 * SECOND).await;
    let (_near, far) = duplex(10);
    let mut far = IoDeadline::new(far).drain(&drain);
    assert_timed_out(far.read_u8().await, "drain");
    assert_eq!(start.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_a_connection_and_no_longer_than_its_deadline() {
    let drain = Drain::new().deadline(5 * SECOND);
    let open = |drain: &Drain| IoDeadline::new(duplex(10).0).drain(drain);
    let first = open(&drain);
    let second = open(&drain);
    drain.start();
    let start = Instant::now();
    tokio::spawn(async move {
        sleep(SECOND).await;
        drop(first);
        sleep(SECOND).await;
        drop(second.into_inner());
    });
    assert_eq!(drain.finished().await, Drained::Clean);
    assert_eq!(start.elapsed().as_secs(), 2);

    let drain = Drain::new().deadline(5 * SECOND);
    let _held = open(&drain);
    drain.start();
    let start = Instant::now();
    assert_eq!(drain.finished().await, Drained::Cut);
    assert_eq!(start.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_drain_cuts_a_stalled_stream_of_hyper() {
    let drain = Drain::new().deadline(2 * SECOND);
    let (mut near, far) = duplex(4096);
    let (connection, flood) = flood(IoDeadline::new(far).drain(&drain));
    ask(&mut near).await;
    near.read_exact(&mut [0; 1000]).await.unwrap();
    sleep(SECOND).await;
    drain.start();
    let start = Instant::now();
    let error = connection.await.unwrap().unwrap_err();
    assert!(is_timed_out(&error), "{error:?}");
    assert_eq!(start.elapsed().as_secs(), 2);
    flood.is_dropped.await.unwrap_err();
}

/// Accepts writes, and counts the vectored ones.
struct Counting {
    io: DuplexStream,
    vectored: usize,
}

impl AsyncRead for Counting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Counting {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.vectored += 1;
        Poll::Ready(Ok(bytes.iter().map(|bytes| bytes.len()).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn vectored_writes_and_a_shutdown_are_passed_on() {
    let (mut near, io) = duplex(10);
    let mut far = IoDeadline::new(Counting { io, vectored: 0 });
    assert!(far.is_write_vectored());
    let large = [b'x'; 4095];
    let bytes = [io::IoSlice::new(&large), io::IoSlice::new(b"yz")];
    assert_eq!(far.write_vectored(&bytes).await.unwrap(), 4097);
    assert_eq!(far.get_ref().vectored, 1);
    // Small slices become one write.
    let bytes = [io::IoSlice::new(b"ab"), io::IoSlice::new(b"c")];
    assert_eq!(far.write_vectored(&bytes).await.unwrap(), 3);
    assert_eq!(far.write_vectored(&[]).await.unwrap(), 0);
    assert_eq!(far.get_ref().vectored, 1);
    far.shutdown().await.unwrap();
    let mut written = String::new();
    near.read_to_string(&mut written).await.unwrap();
    assert_eq!(written, "abc");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn tcp_user_timeout_is_set_and_clamped() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let mut stream = IoDeadline::new(stream);
    let days = 24 * 60 * 60 * SECOND;
    for (timeout, from, to) in [
        (7 * SECOND, 7 * SECOND, 7 * SECOND),
        (Duration::ZERO, SECOND / 1000, SECOND / 1000),
        (Duration::MAX, 24 * days, 25 * days),
    ] {
        stream = stream.tcp_user_timeout(timeout);
        let socket = socket2::SockRef::from(stream.get_ref());
        let set = socket.tcp_user_timeout().unwrap().unwrap();
        assert!((from..=to).contains(&set), "{timeout:?}: {set:?}");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn few_unsent_bytes_wait_for_a_peer_that_does_not_read() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).await;
    let peer = peer.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let mut stream = IoDeadline::new(stream)
        .write_deadline(SECOND)
        .tcp_max_unsent(64 * 1024);
    let socket = socket2::SockRef::from(stream.get_ref());
    assert_eq!(socket.tcp_notsent_lowat().unwrap(), 64 * 1024);
    // The kernel takes what the peer's buffer has room for, and not 4 MiB more.
    let mut written = 0;
    let piece = [b'x'; 8 * 1024];
    let error = loop {
        match stream.write(&piece).await {
            Ok(count) => written += count,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(written < 2 << 20, "{written}");
    drop(peer);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn tcp_keep_alive_is_set_and_clamped() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await;
    let mut stream = IoDeadline::new(stream.unwrap());
    assert!(
        !socket2::SockRef::from(stream.get_ref())
            .keepalive()
            .unwrap()
    );
    for (idle, expected) in [
        (Duration::from_secs(60), 60),
        (Duration::ZERO, 1),
        (Duration::MAX, 32_767),
    ] {
        stream = stream.tcp_keep_alive(idle);
        let socket = socket2::SockRef::from(stream.get_ref());
        assert!(socket.keepalive().unwrap(), "{idle:?}");
        assert_eq!(socket.tcp_keepalive_time().unwrap().as_secs(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_is_noticed_although_hyper_does_not_read() {
    for (request, is_over) in [
        (
            "GET / HTTP/1.1\r\nhost: test\r\n\r\nGET / HTTP/1.1\r\n",
            false,
        ),
        (
            "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 10\r\n\r\n",
            false,
        ),
        (
            "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 10\r\n\r\n123",
            true,
        ),
    ] {
        let (mut near, far) = duplex(4096);
        let stream = IoDeadline::new(far);
        let outgoing = stream.outgoing().clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let (mut parts, body) = request.into_parts();
            drop(body);
            outgoing.set_request_over(is_over);
            parts.extensions.insert(outgoing.clone());
            let response = SseRequest::new(parts).open(async |_| std::future::pending().await);
            async { Ok::<_, Infallible>(response) }
        });
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        let connection = tokio::spawn(connection);
        near.write_all(request.as_bytes()).await.unwrap();
        near.read_exact(&mut [0; 15]).await.unwrap();
        sleep(1000 * SECOND).await;
        assert!(!connection.is_finished(), "{request:?}");
        drop(near);
        timeout(SECOND, connection)
            .await
            .unwrap_or_else(|_| panic!("{request:?}"))
            .unwrap()
            .unwrap_err();
    }
}
