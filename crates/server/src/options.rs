//! `SessionOptions`: the settings of a route for its sessions.

use std::time::Duration;

use tidings_proto::Heartbeat;

use crate::{Drain, Limits};

/// The settings of a route for its sessions. By default nothing is set.
///
/// ```
/// use std::time::Duration;
/// use tidings_server::{Event, Heartbeat, SessionBody, SessionOptions, SseRequest};
///
/// fn events(request: http::Request<()>) -> http::Response<SessionBody> {
///     let options = SessionOptions::new()
///         .heartbeat(Heartbeat::default())
///         .retry(Duration::from_secs(2))
///         .max_lifetime(Duration::from_secs(3600));
///     let (parts, _) = request.into_parts();
///     SseRequest::new(parts).options(options).open(async |session| {
///         session.send(Event::new("hello")).await?;
///         Ok(())
///     })
/// }
/// ```
#[derive(Debug, Clone)]
pub struct SessionOptions {
    pub(crate) heartbeat: Option<Heartbeat>,
    pub(crate) retry: Option<Duration>,
    pub(crate) max_lifetime: Option<Duration>,
    pub(crate) limits: Option<Limits>,
    pub(crate) drain: Option<Drain>,
    pub(crate) may_finish: bool,
    pub(crate) is_incremental: bool,
    #[cfg(feature = "compression")]
    pub(crate) compression: bool,
}

impl SessionOptions {
    /// Options with nothing set.
    #[must_use]
    pub fn new() -> Self {
        Self {
            heartbeat: None,
            retry: None,
            max_lifetime: None,
            limits: None,
            drain: None,
            may_finish: false,
            is_incremental: true,
            #[cfg(feature = "compression")]
            compression: false,
        }
    }

    /// Sets the heartbeat that each session starts with. [`Heartbeat::off`] switches it off. A handler may
    /// replace it with [`Session::heartbeat`](crate::Session::heartbeat).
    ///
    /// Default: a comment after 15 s of quiet for [`SseRequest::forward`](crate::SseRequest::forward),
    /// and none for handlers, as in Ktor.
    #[doc(alias = "keep_alive")]
    #[must_use]
    pub fn heartbeat(mut self, heartbeat: Heartbeat) -> Self {
        self.heartbeat = Some(heartbeat);
        self
    }

    /// Sets how long a client waits before it reconnects. Each session sends it first, as a `retry:`
    /// field, in whole milliseconds. Default: none, so the client's own setting holds, 3 s in most
    /// browsers.
    #[must_use]
    pub fn retry(mut self, reconnection_time: Duration) -> Self {
        self.retry = Some(reconnection_time);
        self
    }

    /// Sets how long a session may last. Default: no limit.
    ///
    /// Each session is closed, as by [`close`](crate::Sender::close), after a random time from 80 to
    /// 100 % of this, so that sessions that began together do not end together. Clients reconnect and
    /// resume, perhaps at another server.
    #[must_use]
    pub fn max_lifetime(mut self, max_lifetime: Duration) -> Self {
        self.max_lifetime = Some(max_lifetime);
        self
    }

    /// Sets how many sessions may be open. Default: no limit.
    #[must_use]
    pub fn limits(mut self, limits: &Limits) -> Self {
        self.limits = Some(limits.clone());
        self
    }

    /// Sets the [`Drain`] that ends the sessions when the server ends. Default: the `Drain` in the
    /// extensions of the request, if the server has put one there.
    #[must_use]
    pub fn drain(mut self, drain: &Drain) -> Self {
        self.drain = Some(drain.clone());
        self
    }

    /// Sets whether a session may continue while the server drains, until its handler returns or the
    /// drain's deadline cuts it. Default: `false`. Such a session sends no `retry:` field.
    ///
    /// For streams that end and cannot be resumed, such as the answer of a language model.
    #[must_use]
    pub fn may_finish(mut self, may_finish: bool) -> Self {
        self.may_finish = may_finish;
        self
    }

    /// Sets whether the head has `Incremental: ?1`, which asks each proxy to forward the stream as it
    /// arrives ([RFC 10036](https://www.rfc-editor.org/rfc/rfc10036)). Default: `true`.
    ///
    /// A proxy that knows this header, and is configured to buffer responses, answers the request with
    /// 501 in place of the stream. Switch the header off for a route behind such a proxy.
    #[must_use]
    pub fn incremental(mut self, incremental: bool) -> Self {
        self.is_incremental = incremental;
        self
    }

    /// Sets whether the stream is compressed for clients that ask for it by `Accept-Encoding`.
    /// Default: `false`.
    ///
    /// The codings are zstd, gzip and br. If the client accepts several with the same weight, the
    /// first of these is used. Each frame is flushed, so that a client can decode each event as soon
    /// as it arrives. The response has `Vary: accept-encoding`, even if its stream is not compressed.
    ///
    /// Each connection holds the state of its coding, from its first event to its end. The table gives
    /// the memory of that state, and for each flushed event the CPU time and the ratio of its
    /// compressed size to its size:
    ///
    /// | | memory | LLM tokens, 325 bytes each | JSON, 1.1 kB each |
    /// |---|---|---|---|
    /// | zstd | 154 KiB | 1.2 µs, 1/11.5 | 6 µs, 1/5.2 |
    /// | gzip | 307 KiB | 3.1 µs, 1/13 | 12 µs, 1/5.4 |
    /// | br | 326 KiB | 7.0 µs, 1/8.9 | 21 µs, 1/4.6 |
    ///
    /// Without the feature `compression`, you can use the compression layer of `tower-http`, which
    /// ignores the `no-transform` of a stream's head. Its default predicate excludes
    /// `text/event-stream`, so set one that includes it. Its codings are
    /// made for files: zstd takes 1.6 MiB a connection, gzip 371 KiB, br 8.6 MiB. Under that layer
    /// [`flush`](crate::Sender::flush) returns before the connection has had its turn to write, and
    /// events sent just before a handler fails may be lost.
    ///
    /// Do not send secrets in a compressed stream together with text that an attacker chooses. Over
    /// many tries the length of the stream reveals them, even if it is encrypted
    /// ([BREACH](https://www.breachattack.com)).
    #[cfg(feature = "compression")]
    #[doc(alias = "gzip")]
    #[must_use]
    pub fn compression(mut self, compression: bool) -> Self {
        self.compression = compression;
        self
    }
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self::new()
    }
}
