//! `Connection`: one HTTP/1 connection, on hyper between its streams.

use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Body;
use hyper::rt::{Read, Write};
use hyper::server::conn::http1::UpgradeableConnection;

use crate::builder::Settings;
use crate::early_bytes::EarlyBytes;
use crate::error::Error;
use crate::http_service::{BoxError, HttpService};
use crate::offering::Offering;
use crate::slot::{Offer, Slot};
use crate::socket::{Flushed, Socket};
use crate::streaming::{AfterStream, Streaming, Taken};

/// One HTTP/1 connection. [`Builder::serve_connection`](crate::Builder::serve_connection) returns it.
///
/// It is ready when the connection is closed, or has left HTTP by an upgrade.
///
/// # Errors
/// If the client disconnects within a request or a response, sends no request that can be parsed, or takes
/// too long, if a write fails, or if the service or a body fails.
///
/// # Panics
/// If it is polled after it was ready. It passes on the panics of the service and of the bodies.
///
/// # Cancel safety
/// If you drop it, the connection is cut, and the service's future and the body of the response are dropped.
#[must_use = "a connection is served while it is polled"]
pub struct Connection<I, S, B>
where
    S: HttpService<B>,
    B: Body,
{
    settings: Arc<Settings>,
    state: State<I, S, B>,
    is_shutting_down: bool,
}

enum State<I, S, B>
where
    S: HttpService<B>,
    B: Body,
{
    /// Boxed, so that it takes no memory during a stream.
    Http(Box<Http<I, S, B>>),
    Streaming(Streaming<I, S, B>),
    Over,
}

/// A connection on hyper.
struct Http<I, S, B>
where
    S: HttpService<B>,
    B: Body,
{
    connection: UpgradeableConnection<Socket<I>, Offering<S, B>>,
    slot: Slot<B>,
    is_flushed: Flushed,
}

// Nothing in it is pinned: hyper's connection can be moved, and the body is in a box.
impl<I, S, B> Unpin for Connection<I, S, B>
where
    S: HttpService<B>,
    B: Body,
{
}

impl<I, S, B> Connection<I, S, B>
where
    I: Read + Write + Unpin + Send + 'static,
    S: HttpService<B>,
    B: Body<Error: Into<BoxError>> + 'static,
{
    pub(crate) fn new(settings: Arc<Settings>, io: I, service: S) -> Self {
        let http = Http::new(&settings, io, Bytes::new(), service);
        Self {
            settings,
            state: State::Http(Box::new(http)),
            is_shutting_down: false,
        }
    }

    /// Closes the connection after the response that it is answering, or at once if it is idle. Poll it
    /// until it is ready all the same.
    ///
    /// A stream is not ended by this; a [`Drain`](tidings_server::Drain) does that.
    pub fn graceful_shutdown(&mut self) {
        self.is_shutting_down = true;
        match &mut self.state {
            State::Http(http) => Pin::new(&mut http.connection).graceful_shutdown(),
            State::Streaming(stream) => stream.disable_keep_alive(),
            State::Over => {}
        }
    }

    fn poll_http(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            let State::Http(http) = &mut self.state else {
                unreachable!("the state was matched");
            };
            if let Poll::Ready(ended) = Pin::new(&mut http.connection).poll(cx) {
                return Poll::Ready(ended.map_err(Error::http));
            }
            let Some(offer) = http.slot.take_offer() else {
                return Poll::Pending;
            };
            if http.is_flushed.get() {
                self.take(offer, cx)?;
                return self.poll_stream(cx);
            }
            // hyper still has bytes of its own to write, such as a `100 Continue`.
            http.slot.decline(offer);
        }
    }

    /// Takes the connection from hyper, for this stream.
    fn take(&mut self, offer: Offer<B>, cx: &mut Context<'_>) -> Result<(), Error> {
        let State::Http(http) = mem::replace(&mut self.state, State::Over) else {
            unreachable!("a response is offered on hyper's connection only");
        };
        let Some(parts) = http.connection.into_parts() else {
            unreachable!("a connection that has left HTTP offers no response");
        };
        let (io, first) = parts.io.into_parts();
        let taken = Taken {
            io,
            service: parts.service.service,
            early: EarlyBytes::new(&parts.read_buf, &first),
            keeps_alive: self.settings.keep_alive && !self.is_shutting_down,
        };
        self.state = State::Streaming(Streaming::begin(taken, offer, cx)?);
        Ok(())
    }

    fn poll_stream(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let State::Streaming(stream) = &mut self.state else {
            unreachable!("the state was matched");
        };
        match ready!(stream.poll(cx))? {
            AfterStream::Closed => return Poll::Ready(Ok(())),
            AfterStream::NextRequest => {}
        }
        let State::Streaming(stream) = mem::replace(&mut self.state, State::Over) else {
            unreachable!("the state was matched");
        };
        let (io, first, service) = stream.into_next();
        let http = Http::new(&self.settings, io, first, service);
        self.state = State::Http(Box::new(http));
        // The client may have sent many requests. Other tasks run between their streams.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<I, S, B> Http<I, S, B>
where
    I: Read + Write + Unpin + Send + 'static,
    S: HttpService<B>,
    B: Body<Error: Into<BoxError>> + 'static,
{
    /// hyper reads `first` before it reads from the connection.
    fn new(settings: &Settings, io: I, first: Bytes, service: S) -> Self {
        let slot = Slot::new();
        let is_flushed = Flushed::default();
        let socket = Socket::new(io, first, is_flushed.clone());
        let service = Offering::new(service, slot.clone());
        let connection = settings.http.serve_connection(socket, service);
        Self {
            connection: connection.with_upgrades(),
            slot,
            is_flushed,
        }
    }
}

impl<I, S, B> Future for Connection<I, S, B>
where
    I: Read + Write + Unpin + Send + 'static,
    S: HttpService<B>,
    B: Body<Error: Into<BoxError>> + 'static,
{
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let ended = ready!(match &this.state {
            State::Http(_) => this.poll_http(cx),
            State::Streaming(_) => this.poll_stream(cx),
            State::Over => unreachable!("a connection is not polled after it was ready"),
        });
        this.state = State::Over;
        Poll::Ready(ended)
    }
}

impl<I, S, B> fmt::Debug for Connection<I, S, B>
where
    S: HttpService<B>,
    B: Body,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Http(_) => "on hyper",
            State::Streaming(_) => "streaming",
            State::Over => "over",
        };
        f.debug_struct("Connection")
            .field("state", &state)
            .field("is_shutting_down", &self.is_shutting_down)
            .finish_non_exhaustive()
    }
}
