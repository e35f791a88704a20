//! `Builder`: the settings of connections.

use std::sync::Arc;
use std::time::Duration;

use http_body::Body;
use hyper::rt::{Read, Timer, Write};
use hyper::server::conn::http1;

use crate::Connection;
use crate::http_service::{BoxError, HttpService};

/// The settings of HTTP/1 connections. They are hyper's own, and a clone is cheap.
///
/// hyper's experimental `pipeline_flush` is not among them: with it, hyper holds responses back where this
/// crate does not see them.
#[derive(Debug, Clone)]
pub struct Builder(Arc<Settings>);

#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) http: http1::Builder,
    pub(crate) keep_alive: bool,
}

impl Builder {
    /// hyper's default settings, without a timer.
    #[must_use]
    pub fn new() -> Self {
        let mut http = http1::Builder::new();
        http.pipeline_flush(false);
        Self(Arc::new(Settings {
            http,
            keep_alive: true,
        }))
    }

    /// Sets the timer for the [`header_read_timeout`](Self::header_read_timeout), such as `TokioTimer` of
    /// hyper-util. Default: none, and then that timeout has no effect.
    #[must_use]
    pub fn timer(mut self, timer: impl Timer + Send + Sync + 'static) -> Self {
        self.settings().http.timer(timer);
        self
    }

    /// Sets how long a client may take to send the head of a request, from the start of the connection or
    /// from the end of the response before. Default: 30 s, if there is a [`timer`](Self::timer). `None`
    /// disables the limit. At the limit the connection fails.
    #[must_use]
    pub fn header_read_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.settings().http.header_read_timeout(limit);
        self
    }

    /// Sets the maximum number of headers of a request. Default: 100. A request with more is answered 431.
    #[must_use]
    pub fn max_headers(mut self, count: usize) -> Self {
        self.settings().http.max_headers(count);
        self
    }

    /// Sets the largest head of a request, in bytes. Default: the [largest buffer](Self::max_buf_size). A
    /// larger one is answered 431.
    #[must_use]
    pub fn max_header_size(mut self, bytes: usize) -> Self {
        self.settings().http.max_header_size(bytes);
        self
    }

    /// Sets the largest buffer of hyper, in bytes. Default: about 400 KiB. It does not apply to streams: this
    /// crate holds at most 16 KiB and one larger frame of the body of a stream.
    ///
    /// # Panics
    /// If it is less than 8 KiB.
    #[must_use]
    pub fn max_buf_size(mut self, bytes: usize) -> Self {
        self.settings().http.max_buf_size(bytes);
        self
    }

    /// Whether a connection serves more than one request. Default: `true`.
    #[must_use]
    pub fn keep_alive(mut self, keep_alive: bool) -> Self {
        let settings = self.settings();
        settings.keep_alive = keep_alive;
        settings.http.keep_alive(keep_alive);
        self
    }

    /// Serves a connection, which runs while you poll the future. Upgrades work.
    ///
    /// # Panics
    /// If a [`header_read_timeout`](Self::header_read_timeout) is set without a [`timer`](Self::timer).
    pub fn serve_connection<I, S, B>(&self, io: I, service: S) -> Connection<I, S, B>
    where
        I: Read + Write + Unpin + Send + 'static,
        S: HttpService<B>,
        B: Body<Error: Into<BoxError>> + 'static,
    {
        Connection::new(Arc::clone(&self.0), io, service)
    }

    /// The settings, copied if a clone or a connection has them too.
    fn settings(&mut self) -> &mut Settings {
        Arc::make_mut(&mut self.0)
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}
