//! Owns `IoDeadline`: a connection that ends, whatever its peer does.

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
use crate::timer::{Timer, after};
use crate::{Drain, Outgoing};

/// Up to how many bytes a write of several slices is gathered into one: a burst of a dozen events, say.
/// To copy as much takes less time than the kernel takes for two more slices.
const GATHER_BYTES: usize = 4096;

/// Most systems take no longer time for keep-alive.
const LONGEST_IDLE: Duration = Duration::from_secs(32_767);

/// A connection that ends, whatever its peer does: deadlines for any `AsyncRead + AsyncWrite`.
///
/// A server does not ask for more of a response while the peer does not take what there is, so
/// nothing inside a session can end one whose client stopped reading: it is never polled again. It
/// is ended here, below HTTP, by an error of the kind `TimedOut`; the connection then drops the
/// response, and with it the handler.
///
/// | deadline | default | ends |
/// | --- | --- | --- |
/// | [`write_deadline`](Self::write_deadline) | 30 s | a peer that takes no byte for that long, though it answers the kernel's probes: a process that is stopped, a reader that forgot its stream |
/// | [`tcp_user_timeout`](Self::tcp_user_timeout) | the system's | a peer that vanished: what was sent is not acknowledged |
/// | [`tcp_keep_alive`](Self::tcp_keep_alive) | none | a peer that vanished while nothing is sent |
/// | [`lifetime`](Self::lifetime) | none | any connection |
/// | [`drain`](Self::drain) | none | what a [`Drain`] could not end by its deadline |
///
/// `axum::serve` has none of these, and its graceful shutdown waits for ever for a stream whose
/// client does not read; `tidings_axum::serve` has them. For another server of hyper's:
///
/// ```no_run
/// # use std::convert::Infallible;
/// # use hyper::body::Incoming;
/// use hyper::server::conn::http1;
/// use hyper::service::service_fn;
/// use hyper_util::rt::{TokioIo, TokioTimer};
/// use tidings_proto::Event;
/// use tidings_server::{Drain, IoDeadline, SseRequest};
///
/// # async fn run(stream: tokio::net::TcpStream, drain: Drain) -> hyper::Result<()> {
/// let stream = IoDeadline::new(stream).drain(&drain);
/// let outgoing = stream.outgoing().clone();
/// let service = service_fn(async |mut request: http::Request<Incoming>| {
///     request.extensions_mut().insert(drain.clone());
///     request.extensions_mut().insert(outgoing.clone());
///     let (parts, _body) = request.into_parts();
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
/// Under TLS it stands between the socket and TLS: above, a write of TLS that goes on bit by bit
/// looks like one that stands still. Over HTTP/2 it sees the connection as a whole: one stream
/// that is not read, beside others that are, is ended by lifetime or drain alone.
///
/// A write that succeeds, and a read, cost nothing but a comparison; the timer is made when the
/// first write has to wait.
pub struct IoDeadline<IO> {
    io: IO,
    deadlines: Deadlines,
    outgoing: Outgoing,
}

impl<IO> IoDeadline<IO> {
    /// Guards this connection with the write deadline alone.
    #[must_use]
    pub fn new(io: IO) -> Self {
        Self {
            io,
            deadlines: Deadlines::default(),
            outgoing: Outgoing::default(),
        }
    }

    /// How long a write, flush or shutdown waits while the peer takes nothing: 30 s by default.
    /// Then it fails. Each byte that is taken starts the time anew; `Duration::MAX` is for ever.
    ///
    /// A peer that reads a byte a second takes nothing either, most of the time: the kernel makes
    /// room in steps of kilobytes, and where such a step takes longer than the deadline, the
    /// connection ends.
    #[must_use]
    pub fn write_deadline(mut self, deadline: Duration) -> Self {
        self.deadlines.write = deadline;
        self
    }

    /// How long the connection lasts in all, from this call on: for ever by default. Then reads
    /// and writes fail, also those that wait.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.deadlines.end_of_life = Some(after(lifetime));
        self
    }

    /// Ends with this drain: it waits for the connection, also when that has left HTTP by an
    /// upgrade, and from its deadline on reads and writes fail, also those that wait.
    ///
    /// When the drain starts, the tasks that wait for this connection are woken once.
    #[must_use]
    pub fn drain(mut self, drain: &Drain) -> Self {
        self.deadlines.drain = Some(drain.register_connection());
        self
    }

    /// What tells sessions on this connection whether it has still to write, for the extensions of
    /// their requests.
    #[must_use]
    pub fn outgoing(&self) -> &Outgoing {
        &self.outgoing
    }

    /// The connection itself.
    #[must_use]
    pub fn get_ref(&self) -> &IO {
        &self.io
    }

    /// The connection itself. What is written there knows no deadline.
    #[must_use]
    pub fn get_mut(&mut self) -> &mut IO {
        &mut self.io
    }

    /// The connection itself, without deadlines; a drain knows it no more.
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
    /// Sets `TCP_USER_TIMEOUT`: how long the kernel waits until what was sent is acknowledged, or
    /// a peer that takes nothing takes something. Then it ends the connection. The system's
    /// default is a quarter of an hour on Linux, and for ever for a peer that takes nothing.
    ///
    /// It also holds for what was written and is not sent yet, so it sees what the write deadline
    /// does not: a peer that vanished while nothing more is written.
    ///
    /// In whole milliseconds, from 1 ms to 24 days; what is beyond is taken as the nearest.
    ///
    /// Only Linux, Android, Fuchsia and Cygwin have it; elsewhere this does nothing. Where the
    /// kernel refuses it, the connection goes on without, and a trace says so.
    #[must_use]
    pub fn tcp_user_timeout(self, timeout: Duration) -> Self {
        #[cfg(any(
            target_os = "android",
            target_os = "cygwin",
            target_os = "fuchsia",
            target_os = "linux",
        ))]
        {
            // What the kernel takes; 0 would be the system's default.
            let taken = Duration::from_millis(1)..=Duration::from_millis(i32::MAX as u64);
            let timeout = timeout.clamp(*taken.start(), *taken.end());
            let socket = socket2::SockRef::from(&self.io);
            if let Err(error) = socket.set_tcp_user_timeout(Some(timeout)) {
                tracing::debug!(%error, "the connection takes no TCP_USER_TIMEOUT");
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

    /// Sets TCP keep-alive: after so long without a byte from the peer the kernel asks whether it is
    /// still there, and ends the connection if no answer comes, however often it asks: every 75 s on
    /// Linux, nine times, or twice where [`tcp_user_timeout`](Self::tcp_user_timeout) is set to less.
    ///
    /// For sessions that may be quiet for long and have no heartbeat: nothing is written there, so
    /// no other deadline sees that the peer vanished, and its handler would wait for ever.
    ///
    /// In whole seconds, from 1 s to 9 hours; what is beyond is taken as the nearest. Where the kernel
    /// refuses it, the connection goes on without, and a trace says so.
    #[must_use]
    pub fn tcp_keep_alive(self, idle: Duration) -> Self {
        let idle = idle.clamp(Duration::from_secs(1), LONGEST_IDLE);
        let keep_alive = TcpKeepalive::new().with_time(idle);
        let socket = socket2::SockRef::from(&self.io);
        if let Err(error) = socket.set_tcp_keepalive(&keep_alive) {
            tracing::debug!(%error, "the connection takes no TCP keep-alive");
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
        Pin::new(&mut this.io).poll_read(cx, buffer)
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for IoDeadline<IO> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let io = Pin::new(&mut this.io);
        let poll = this
            .deadlines
            .poll(Work::Write, cx, |cx| io.poll_write(cx, bytes));
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
        let poll = this.deadlines.poll(Work::Write, cx, |cx| match gathered {
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
        let poll = this.deadlines.poll(Work::Flush, cx, |cx| io.poll_flush(cx));
        if poll.is_ready() {
            this.outgoing.handle_flushed();
        }
        poll
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let io = Pin::new(&mut this.io);
        this.deadlines
            .poll(Work::Flush, cx, |cx| io.poll_shutdown(cx))
    }
}

/// The slices as one, if they are small: a chunk of HTTP/1.1 is three, and the kernel takes one in less
/// time than three.
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

/// What a connection waits for on its write side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Write,
    /// Or the shutdown.
    Flush,
}

struct Deadlines {
    write: Duration,
    /// What waits, and until when it may.
    stalled: Option<(Work, Instant)>,
    end_of_life: Option<Instant>,
    drain: Option<DrainedConnection>,
    /// One for each side, as two tasks may have one each.
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
    /// Fails once the connection is over, and else sees to it that the task is woken then.
    fn check_end(&mut self, side: Side, cx: &mut Context<'_>) -> io::Result<()> {
        let cut_off = self.drain.as_mut();
        let cut_off = cut_off.and_then(|drain| drain.cut_off(side, cx.waker()));
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
        work: Work,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        self.check_end(Side::Write, cx)?;
        let poll = poll(cx);
        if poll.is_pending() {
            self.check_stall(work, cx)?;
        } else if self
            .stalled
            .is_some_and(|(stalled, _)| work == Work::Write || stalled == work)
        {
            // A flush that is ready says nothing of a write that waits.
            self.stalled = None;
        }
        poll
    }

    /// Fails once what waits has waited too long.
    fn check_stall(&mut self, work: Work, cx: &mut Context<'_>) -> io::Result<()> {
        let write = self.write;
        let (_, due) = *self.stalled.get_or_insert_with(|| (work, after(write)));
        if self.write_timer.poll(cx, due).is_pending() {
            return Ok(());
        }
        let message = format!("the peer took nothing of what was written for {write:?}");
        Err(io::Error::new(io::ErrorKind::TimedOut, message))
    }
}
