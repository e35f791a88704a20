//! `IoDeadline`: deadlines for a connection whose peer does not read, or has vanished.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::TcpKeepalive;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::drain::{DrainedConnection, Side};
use crate::read_ahead::ReadAhead;
use crate::timer::{Timer, after};
use crate::{Drain, Outgoing};

/// The most bytes that are copied so that several slices become one write: about a dozen small events.
/// The copy takes less time than the kernel takes for two more slices.
const GATHER_BYTES: usize = 4096;

/// The longest keep-alive time that most systems accept.
const LONGEST_IDLE: Duration = Duration::from_secs(32_767);

/// Deadlines for a connection: any `AsyncRead + AsyncWrite`. At a deadline, reads and writes fail with
/// an error of the kind `TimedOut`.
///
/// A server does not poll a response while the peer does not take its bytes. So a session whose client
/// stopped reading cannot end itself. This type ends it below HTTP: when a write fails, the server drops
/// the response, and with it the handler.
///
/// | deadline | default | ends |
/// | --- | --- | --- |
/// | [`write_deadline`](Self::write_deadline) | 30 s | a peer that takes no byte for that long, even if it answers the kernel's probes: a stopped process, or a client that does not read |
/// | [`StreamDeadline`](crate::StreamDeadline) | 30 s | a stream of an HTTP/2 connection whose client reads others, and not this one |
/// | [`tcp_user_timeout`](Self::tcp_user_timeout) | the system's | a peer that vanished: sent bytes are not acknowledged |
/// | [`tcp_keep_alive`](Self::tcp_keep_alive) | none | a peer that vanished while nothing is sent |
/// | [`lifetime`](Self::lifetime) | none | any connection |
/// | [`drain`](Self::drain) | none | connections still open at the deadline of a [`Drain`] |
///
/// `tidings_axum::serve` uses them. `axum::serve` has none, and its graceful shutdown waits for ever for
/// a stream whose client does not read. With hyper itself:
///
/// ```no_run
/// # use std::convert::Infallible;
/// # use hyper::body::Incoming;
/// use hyper::server::conn::http1;
/// use hyper::service::service_fn;
/// use hyper_util::rt::{TokioIo, TokioTimer};
/// use tidings_server::{Drain, Event, IoDeadline, SseRequest};
///
/// # async fn run(stream: tokio::net::TcpStream, drain: Drain) -> hyper::Result<()> {
/// let stream = IoDeadline::new(stream).drain(&drain);
/// let outgoing = stream.outgoing().clone();
/// let service = service_fn(async |mut request: http::Request<Incoming>| {
///     request.extensions_mut().insert(drain.clone());
///     request.extensions_mut().insert(outgoing.clone());
///     let (parts, body) = request.into_parts();
///     drop(body);
///     outgoing.set_request_over(true);
///     let response = SseRequest::new(parts).open(async |session| {
///         session.send(Event::new("hello")).await?;
///         Ok(())
///     });
///     Ok::<_, Infallible>(response)
/// });
/// http1::Builder::new()
///     .timer(TokioTimer::new())
///     .serve_connection(TokioIo::new(stream), service)
///     .await
/// # }
/// ```
///
/// With TLS, wrap the socket, below TLS. Above TLS, a write that makes slow progress looks like a write
/// that makes none. Over HTTP/2 the deadlines apply to the whole connection: a stream that is not read,
/// beside streams that are, needs a [`StreamDeadline`](crate::StreamDeadline) as well.
///
/// It does not limit how long a client takes to send its request. hyper's `header_read_timeout` limits the
/// head, if the builder has a timer; limit the body where you read it, as `tidings_axum::serve` does.
///
/// A read, and a write that succeeds, cost one comparison. The timer is allocated when the first write
/// must wait.
pub struct IoDeadline<IO> {
    io: IO,
    deadlines: Deadlines,
    outgoing: Outgoing,
    ahead: ReadAhead,
}

impl<IO> IoDeadline<IO> {
    /// Guards this connection with the write deadline of 30 s and no other.
    #[must_use]
    pub fn new(io: IO) -> Self {
        Self {
            io,
            deadlines: Deadlines::default(),
            outgoing: Outgoing::default(),
            ahead: ReadAhead::default(),
        }
    }

    /// Sets how long a write, flush or shutdown waits while the peer takes no byte. Default: 30 s. Then
    /// it fails. Each byte taken restarts the time. `Duration::MAX` disables the deadline.
    ///
    /// A peer that reads one byte a second may reach the deadline too: the kernel frees its buffer in
    /// steps of kilobytes, and a step that takes longer than the deadline ends the connection.
    #[must_use]
    pub fn write_deadline(mut self, deadline: Duration) -> Self {
        self.deadlines.write = deadline;
        self
    }

    /// Sets how long the connection may last, from this call on. Default: no limit. Then reads and
    /// writes fail, even those that already wait.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.deadlines.end_of_life = Some(after(lifetime));
        self
    }

    /// Makes this drain wait for the connection, and cut it at the drain's deadline: then reads and
    /// writes fail, even those that already wait. This includes connections that have left HTTP by an
    /// upgrade. Default: no drain.
    ///
    /// When the drain starts, the tasks that wait for this connection are woken once.
    #[must_use]
    pub fn drain(mut self, drain: &Drain) -> Self {
        self.deadlines.drain = Some(drain.register_connection());
        self
    }

    /// Whether this connection still has bytes to write. Put a clone into the extensions of its
    /// requests, so that the sessions can wait for it; see [`Outgoing`].
    #[must_use]
    pub fn outgoing(&self) -> &Outgoing {
        &self.outgoing
    }

    /// The connection inside.
    #[must_use]
    pub fn get_ref(&self) -> &IO {
        &self.io
    }

    /// The connection inside. Reads and writes on it have no deadline, and its first bytes may have been
    /// read already.
    #[must_use]
    pub fn get_mut(&mut self) -> &mut IO {
        &mut self.io
    }

    /// The connection inside, without deadlines. A drain no longer waits for it. If a session was open on
    /// it, its first bytes may have been read already.
    #[must_use]
    pub fn into_inner(self) -> IO {
        self.io
    }
}

impl<IO> IoDeadline<IO> {
    fn note_write<T>(&self, poll: Poll<T>) -> Poll<T> {
        if poll.is_pending() {
            self.outgoing.handle_stuck();
        }
        poll
    }
}

impl IoDeadline<TcpStream> {
    /// Sets `TCP_USER_TIMEOUT`: how long the kernel waits until the peer acknowledges sent bytes, or
    /// opens its window for bytes that wait. Then the kernel ends the connection. Default: the
    /// system's; on Linux a quarter of an hour for acknowledgements, and no limit for a peer whose
    /// window stays shut.
    ///
    /// The write deadline does not see a peer that vanished while nothing more is written. This timeout
    /// does, because it also applies to bytes that were written and not sent yet.
    ///
    /// In whole milliseconds, from 1 ms to 24 days; values outside are clamped.
    ///
    /// Only Linux, Android, Fuchsia and Cygwin have this timeout; on other systems the call has no
    /// effect. If the kernel refuses it, the connection works without it, and this is traced.
    #[must_use]
    pub fn tcp_user_timeout(self, timeout: Duration) -> Self {
        #[cfg(any(
            target_os = "android",
            target_os = "cygwin",
            target_os = "fuchsia",
            target_os = "linux",
        ))]
        {
            // The range that the kernel accepts. 0 would mean the system's default.
            let accepted = Duration::from_millis(1)..=Duration::from_millis(i32::MAX as u64);
            let timeout = timeout.clamp(*accepted.start(), *accepted.end());
            let socket = socket2::SockRef::from(&self.io);
            if let Err(error) = socket.set_tcp_user_timeout(Some(timeout)) {
                tracing::debug!(%error, "TCP_USER_TIMEOUT cannot be set");
            }
        }
        #[cfg(not(any(
            target_os = "android",
            target_os = "cygwin",
            target_os = "fuchsia",
            target_os = "linux",
        )))]
        let _ = timeout;
        self
    }

    /// Sets `TCP_NOTSENT_LOWAT`: the most written bytes that wait in the kernel until they can be sent. At
    /// the limit, writes wait, and the write deadline runs. Default: the system's; on Linux only the
    /// socket's buffer is a limit, which grows to 4 MiB for a peer that stopped reading.
    ///
    /// Sent bytes that the peer has not acknowledged do not count, so the limit does not slow down a peer
    /// that reads.
    ///
    /// Only Linux and Android have this option here; on other systems the call has no effect. If the kernel
    /// refuses it, the connection works without it, and this is traced.
    #[must_use]
    pub fn tcp_max_unsent(self, bytes: u32) -> Self {
        #[cfg(any(target_os = "android", target_os = "linux"))]
        {
            let socket = socket2::SockRef::from(&self.io);
            if let Err(error) = socket.set_tcp_notsent_lowat(bytes) {
                tracing::debug!(%error, "TCP_NOTSENT_LOWAT cannot be set");
            }
        }
        #[cfg(not(any(target_os = "android", target_os = "linux")))]
        let _ = bytes;
        self
    }

    /// Sets TCP keep-alive: after this time without a byte from the peer, the kernel sends probes, and
    /// ends the connection if the peer does not answer them. Default: no probes. Linux sends nine
    /// probes, 75 s apart, or two if [`tcp_user_timeout`](Self::tcp_user_timeout) is shorter than that.
    ///
    /// For quiet sessions without a heartbeat. Nothing is written there, so no other deadline sees that
    /// the peer vanished, and the handler would wait for ever.
    ///
    /// In whole seconds, from 1 s to 9 hours; values outside are clamped. If the kernel refuses it, the
    /// connection works without it, and this is traced.
    #[must_use]
    pub fn tcp_keep_alive(self, idle: Duration) -> Self {
        let idle = idle.clamp(Duration::from_secs(1), LONGEST_IDLE);
        let keep_alive = TcpKeepalive::new().with_time(idle);
        let socket = socket2::SockRef::from(&self.io);
        if let Err(error) = socket.set_tcp_keepalive(&keep_alive) {
            tracing::debug!(%error, "TCP keep-alive cannot be set");
        }
        self
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for IoDeadline<IO> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.deadlines.check_end(Side::Read, cx)?;
        if this.outgoing.is_reading() && this.ahead.is_at_dropped() {
            // The bytes before the stream were more than are kept. That ends the connection after the stream.
            this.ahead.watch(&mut this.io, cx, true)?;
            return Poll::Pending;
        }
        this.ahead.poll_read(&mut this.io, cx, buffer)
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for IoDeadline<IO> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let io = Pin::new(&mut this.io);
        let poll = this
            .deadlines
            .poll(WriteOp::Write, cx, |cx| io.poll_write(cx, bytes));
        this.note_write(poll)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let io = Pin::new(&mut this.io);
        let mut gathered = [0; GATHER_BYTES];
        let gathered = gather(bytes, &mut gathered);
        let poll = this
            .deadlines
            .poll(WriteOp::Write, cx, |cx| match gathered {
                Some(gathered) => io.poll_write(cx, gathered),
                None => io.poll_write_vectored(cx, bytes),
            });
        this.note_write(poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let io = Pin::new(&mut this.io);
        let poll = this
            .deadlines
            .poll(WriteOp::Flush, cx, |cx| io.poll_flush(cx));
        if poll.is_ready() {
            this.outgoing.handle_flushed();
            if this.outgoing.needs_reader() {
                let may_drop = this.outgoing.is_request_over();
                this.ahead.watch(&mut this.io, cx, may_drop)?;
            }
        }
        poll
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let io = Pin::new(&mut this.io);
        this.deadlines
            .poll(WriteOp::Flush, cx, |cx| io.poll_shutdown(cx))
    }
}

/// The slices as one, if they are small. A chunk of HTTP/1.1 has three slices, and the kernel writes one
/// faster than three.
fn gather<'g>(slices: &[io::IoSlice<'_>], gathered: &'g mut [u8]) -> Option<&'g [u8]> {
    let mut length = 0;
    for slice in slices {
        let end = length + slice.len();
        gathered.get_mut(length..end)?.copy_from_slice(slice);
        length = end;
    }
    Some(&gathered[..length])
}

impl<IO: fmt::Debug> fmt::Debug for IoDeadline<IO> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IoDeadline")
            .field("io", &self.io)
            .field("write_deadline", &self.deadlines.write)
            .finish_non_exhaustive()
    }
}

/// The operation that waits on the write side of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WriteOp {
    Write,
    /// A flush or a shutdown.
    Flush,
}

struct Deadlines {
    write: Duration,
    /// The waiting operation, and its deadline.
    stalled: Option<(WriteOp, Instant)>,
    end_of_life: Option<Instant>,
    drain: Option<DrainedConnection>,
    /// One timer for each side, because each side may have a task of its own.
    read_timer: Timer,
    write_timer: Timer,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            write: Duration::from_secs(30),
            stalled: None,
            end_of_life: None,
            drain: None,
            read_timer: Timer::default(),
            write_timer: Timer::default(),
        }
    }
}

impl Deadlines {
    /// Fails if the lifetime or the drain has ended the connection. Otherwise the task is woken at that
    /// end.
    fn check_end(&mut self, side: Side, cx: &mut Context<'_>) -> io::Result<()> {
        let cut_off = self.drain.as_mut();
        let cut_off = cut_off.and_then(|drain| drain.cut_off(side, cx.waker()));
        let cut_off = cut_off.map(Instant::from_std);
        let ends = [
            (self.end_of_life, "the lifetime of the connection is over"),
            (cut_off, "the deadline of the drain has passed"),
        ];
        let ends = ends.into_iter().filter_map(|(at, why)| Some((at?, why)));
        let Some((at, why)) = ends.min_by_key(|(at, _)| *at) else {
            return Ok(());
        };
        let timer = match side {
            Side::Read => &mut self.read_timer,
            Side::Write => &mut self.write_timer,
        };
        match timer.poll(cx, at) {
            Poll::Ready(()) => Err(io::Error::new(io::ErrorKind::TimedOut, why)),
            Poll::Pending => Ok(()),
        }
    }

    fn poll<T>(
        &mut self,
        op: WriteOp,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        self.check_end(Side::Write, cx)?;
        let poll = poll(cx);
        if poll.is_pending() {
            self.check_stall(op, cx)?;
        } else if self
            .stalled
            .is_some_and(|(stalled, _)| op == WriteOp::Write || stalled == op)
        {
            // Only a write ends the wait of a write: a flush may be ready while a write waits.
            self.stalled = None;
        }
        poll
    }

    /// Fails if the operation has waited longer than the write deadline.
    fn check_stall(&mut self, op: WriteOp, cx: &mut Context<'_>) -> io::Result<()> {
        let write = self.write;
        let (_, due) = *self.stalled.get_or_insert_with(|| (op, after(write)));
        if self.write_timer.poll(cx, due).is_pending() {
            return Ok(());
        }
        let message = format!("the peer took no byte for {write:?}");
        Err(io::Error::new(io::ErrorKind::TimedOut, message))
    }
}
