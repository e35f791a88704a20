//! Owns `SessionOptions`: what a route sets for its sessions.

use std::time::Duration;

use tidings_proto::Heartbeat;

use crate::{Drain, Limits};

/// What a route sets for its sessions. Nothing is on by default.
///
/// ```
/// use std::time::Duration;
/// use tidings_proto::{Event, Heartbeat};
/// use tidings_server::{SessionBody, SessionOptions, SseRequest};
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
#[derive(Debug, Clone, Default)]
pub struct SessionOptions {
    pub(crate) heartbeat: Option<Heartbeat>,
    pub(crate) retry: Option<Duration>,
    pub(crate) max_lifetime: Option<Duration>,
    pub(crate) limits: Option<Limits>,
    pub(crate) drain: Option<Drain>,
    pub(crate) may_finish: bool,
    #[cfg(feature = "compression")]
    pub(crate) compression: bool,
}

impl SessionOptions {
    /// Nothing is set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The heartbeat that each session starts with; a handler may put another in its place.
    #[doc(alias = "keep_alive")]
    #[must_use]
    pub fn heartbeat(mut self, heartbeat: Heartbeat) -> Self {
        self.heartbeat = Some(heartbeat);
        self
    }

    /// The reconnection time that each client is told first, before any event: how long it waits
    /// until it comes back. Without it a client's own holds, 3 s in most browsers.
    #[must_use]
    pub fn retry(mut self, reconnection_time: Duration) -> Self {
        self.retry = Some(reconnection_time);
        self
    }

    /// A session ends, as by [`close`](crate::Sender::close), before it is as old as this: each
    /// after a time of its own, from 80 to 100 % of it, so that those that began together do not end
    /// together. Clients come back and resume, perhaps at another server.
    #[must_use]
    pub fn max_lifetime(mut self, max_lifetime: Duration) -> Self {
        self.max_lifetime = Some(max_lifetime);
        self
    }

    /// How many sessions may be open.
    #[must_use]
    pub fn limits(mut self, limits: &Limits) -> Self {
        self.limits = Some(limits.clone());
        self
    }

    /// What ends the sessions when the server ends, in place of the [`Drain`] that a server may have
    /// put into the request's extensions.
    #[must_use]
    pub fn drain(mut self, drain: &Drain) -> Self {
        self.drain = Some(drain.clone());
        self
    }

    /// Whether a session may go on when the server drains, until its handler returns or the drain's
    /// deadline cuts it: `false` by default. Its client is not told when to come back.
    ///
    /// For what has an end and cannot be resumed, such as the answer of a language model.
    #[must_use]
    pub fn may_finish(mut self, may_finish: bool) -> Self {
        self.may_finish = may_finish;
        self
    }

    /// Whether the stream is sent in zstd, gzip or br if the client asks for one by
    /// `Accept-Encoding`. `false` by default.
    ///
    /// Of codings that the client likes the same, the first of these is taken. Each frame is
    /// flushed: an event can be decoded as soon as it is there. The response varies by
    /// `Accept-Encoding`, also where the stream is plain.
    ///
    /// Each connection holds the state of its coding, from its first event to its end. What that
    /// costs in memory, and each flushed event in CPU time and to which part of its size it shrinks:
    ///
    /// | | memory | LLM tokens, 325 bytes each | JSON, 1.1 kB each |
    /// |---|---|---|---|
    /// | zstd | 154 KiB | 1.2 µs, 1/11.5 | 6 µs, 1/5.2 |
    /// | gzip | 307 KiB | 3.1 µs, 1/13 | 12 µs, 1/5.4 |
    /// | br | 326 KiB | 7.0 µs, 1/8.9 | 21 µs, 1/4.6 |
    ///
    /// The compression layer of `tower-http` does as well, without the feature `compression`, once
    /// its predicate lets `text/event-stream` through, which the default one does not. Its codings
    /// are made for files: zstd costs 1.6 MiB a connection, gzip 371 KiB, br 8.6 MiB. Under it
    /// [`flush`](crate::Sender::flush) returns before the connection has had its turn to write, and
    /// what a handler sends just before it fails may be lost.
    ///
    /// Beside text that an attacker chooses, do not send secrets in a compressed stream: over many
    /// tries its length tells what they are, encrypted or not
    /// ([BREACH](https://www.breachattack.com)).
    #[cfg(feature = "compression")]
    #[doc(alias = "gzip")]
    #[must_use]
    pub fn compression(mut self, compression: bool) -> Self {
        self.compression = compression;
        self
    }
}
