//! Server-Sent Events for servers that use `http` types: hyper, tower, axum, warp.
//!
//! ```toml
//! [dependencies]
//! tidings-server = "0.1"
//! ```
//!
//! A handler is one async function per client. The connection polls it while it reads the response,
//! so a session needs no task and no channel. It has one bounded queue, and one timer if it has a
//! heartbeat or a lifetime. Timers are tokio's, so sessions need a tokio runtime with time enabled.
//!
//! If you use axum, start with `tidings-axum`: there a route is
//! `Router::new().sse("/events", events)`, and `serve` runs the server. For traffic in both directions,
//! use a WebSocket.
//!
//! # First stream
//!
//! Write a handler, and open a session for it:
//!
//! ```
//! # use std::time::Duration;
//! # use http_body_util::BodyExt;
//! use tidings_server::{Event, HandlerError, Session, SessionBody, SseRequest};
//!
//! async fn events(session: Session) -> Result<(), HandlerError> {
//!     for n in 0..6 {
//!         session.send(Event::new(format!("this is SSE #{n}"))).await?;
//!         tokio::time::sleep(Duration::from_secs(1)).await;
//!     }
//!     Ok(())
//! }
//!
//! fn answer(request: http::Request<()>) -> http::Response<SessionBody> {
//!     SseRequest::new(request.into_parts().0).open(events)
//! }
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! # let sent = answer(http::Request::new(())).into_body().collect().await.unwrap().to_bytes();
//! # assert!(sent.ends_with(b"data: this is SSE #5\n\n"));
//! # }
//! ```
//!
//! Any server can call `answer`; [`IoDeadline`] shows one on hyper. The crate `tidings-hyper-server` has
//! connections on hyper whose streams take less memory. The head of the response leaves before the handler
//! runs, so the client is connected at once. Then:
//!
//! * When the handler returns, the stream ends.
//! * When the handler fails or panics, the events it sent still leave, and then the response is cut, so
//!   that the client sees that the stream is incomplete.
//! * When the client disconnects, the handler is dropped where it waits.
//!
//! To refuse a request with a 401 or a 404, answer it without opening a session.
//!
//! # The answer of a language model
//!
//! A handler may await anything: a stream of tokens, a channel, a job.
//!
//! ```
//! # #[cfg(not(feature = "json"))]
//! # fn main() {}
//! # #[cfg(feature = "json")]
//! # mod example {
//! # use http_body_util::BodyExt;
//! use futures_util::{Stream, StreamExt};
//! use tidings_server::{Event, HandlerError, Session, SessionBody, SessionOptions, SseRequest};
//!
//! #[derive(serde::Serialize)]
//! struct Chunk<'a> {
//!     delta: &'a str,
//! }
//!
//! async fn answer(
//!     mut tokens: impl Stream<Item = Result<String, std::io::Error>> + Unpin,
//!     session: Session,
//! ) -> Result<(), HandlerError> {
//!     while let Some(token) = tokens.next().await {
//!         session.send_json(&Chunk { delta: &token? }).await?;
//!     }
//!     session.send(Event::new("[DONE]")).await?;
//!     Ok(())
//! }
//!
//! fn respond(
//!     request: SseRequest,
//!     tokens: impl Stream<Item = Result<String, std::io::Error>> + Unpin + Send + 'static,
//! ) -> http::Response<SessionBody> {
//!     // While the server drains, the answer continues to its end.
//!     let options = SessionOptions::new().may_finish(true);
//!     request.options(options).open(async move |session| answer(tokens, session).await)
//! }
//! # #[tokio::main(flavor = "current_thread")]
//! # pub async fn main() {
//! # let tokens = futures_util::stream::iter([Ok("Hel".to_owned()), Ok("lo".to_owned())]);
//! # let (parts, ()) = http::Request::new(()).into_parts();
//! # let response = respond(SseRequest::new(parts), tokens);
//! # let sent = response.into_body().collect().await.unwrap().to_bytes();
//! # let expected = "data: {\"delta\":\"Hel\"}\n\ndata: {\"delta\":\"lo\"}\n\ndata: [DONE]\n\n";
//! # assert_eq!(sent, expected);
//! # }
//! # }
//! # #[cfg(feature = "json")]
//! # use example::main;
//! ```
//!
//! When a reader closes the page, the handler is dropped, and with it the stream of tokens. When the
//! upstream fails, `?` returns its error, and the response is cut. An answer cannot be resumed, so the
//! route sets [`may_finish`](SessionOptions::may_finish): a [shutdown](#shutdown) cuts an answer only at the
//! drain's deadline.
//!
//! # Resuming
//!
//! If events have IDs, a client that reconnects sends the ID of the last event it received.
//!
//! ```
//! # use http_body_util::BodyExt;
//! # use tidings_server::SseRequest;
//! use tidings_server::{Event, HandlerError, Session};
//!
//! async fn count(session: Session) -> Result<(), HandlerError> {
//!     let last = session.last_event_id().and_then(|id| id.parse::<u64>().ok());
//!     for n in last.map_or(0, |last| last.saturating_add(1))..10 {
//!         session.send(Event::new("tick").id(n)).await?;
//!     }
//!     Ok(())
//! }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! # let request = http::Request::builder().header("last-event-id", "8").body(()).unwrap();
//! # let response = SseRequest::new(request.into_parts().0).open(count);
//! # let sent = response.into_body().collect().await.unwrap().to_bytes();
//! # assert_eq!(sent, "id: 9\ndata: tick\n\n");
//! # }
//! ```
//!
//! A page that was reloaded cannot set that header. It can put the ID into the URL, as
//! `?last_event_id=`. Polyfills write `?lastEventId=`, which is read too; see
//! [`SseRequest::last_event_id`].
//!
//! # Forwarding a hub
//!
//! A [`Feed`], such as a subscription of a hub, knows itself where a client resumes, and its events are
//! already encoded. [`SseRequest::forward`] opens the feed first, and answers 204 if it is over. If the feed
//! is not available, it asks the client to [come back later](#come-back-later). The stream has no handler and
//! no [`Session`], so an idle client takes about two thirds of the memory of one whose handler forwards the
//! feed. For limits, drains and metrics it is a session all the same.
//!
//! [`Session::forward`] is for a handler that also sends events of its own.
//!
//! # Typed events
//!
//! A protocol can be a serde enum: the variant is the name of the event, and its content is the data, as
//! JSON. The client reads the same enum. See `Sender::send_typed`.
//!
//! # Heartbeats and proxies
//!
//! Proxies cut connections that are quiet for 30 or 60 s, and a server notices that a client has
//! disconnected only when it writes. A heartbeat helps with both. [`SseRequest::forward`] sends one by
//! default, after 15 s of quiet; a handler sends none. Set one for a route, or start it in the handler:
//!
//! ```
//! use std::time::Duration;
//! use tidings_server::{Event, Heartbeat, Session, SessionOptions};
//!
//! // A comment after 15 s of quiet.
//! let options = SessionOptions::new().heartbeat(Heartbeat::default());
//!
//! // No heartbeat, also for a forwarded feed.
//! let quiet = SessionOptions::new().heartbeat(Heartbeat::off());
//!
//! // An event each second, whatever else is sent.
//! # fn start(session: &Session) {
//! session.heartbeat(Heartbeat::every(Duration::from_secs(1)).event(Event::new("beat")).always(true));
//! # }
//! ```
//!
//! The head has `Cache-Control: no-store, no-transform`, `Incremental: ?1` and `X-Accel-Buffering: no`, so
//! that proxies neither buffer, transform nor store the stream; see also
//! [`incremental`](SessionOptions::incremental). Set `proxy_http_version 1.1` in nginx: by default it speaks
//! HTTP/1.0 to the server, and there a response that is cut looks like one that ends.
//!
//! Over HTTP/1.1 a browser opens at most six connections to a host, for all its pages together, and each
//! stream takes one. Let browsers use HTTP/2. They require TLS for it, for example at a proxy.
//!
//! # Backpressure
//!
//! [`send`](Sender::send) returns at once while the session's queue of 64 KiB has room. Otherwise it
//! waits until the client reads. So a client that stops reading stops only its own handler.
//! [`try_send`](Sender::try_send) is for events that are better dropped than late.
//! [`flush`](Sender::flush) is for handlers that compute between sends; other handlers do not need it,
//! because queued events leave whenever the handler waits.
//!
//! The buffers of the server and of the kernel fill before the queue does. So a client that does not read
//! costs, more than an idle one:
//!
//! * The session's queue: 64 KiB, or one larger event.
//! * The server's buffer. Over HTTP/1, `tidings_axum::serve` and `tidings-hyper-server` hold at most 16 KiB
//!   and one larger frame. hyper itself holds by default 16 frames or 408 KiB, the smaller of the two, and
//!   the frame that reaches that limit. Small events leave in frames of 16 KiB, so it holds 256 KiB of
//!   them. On HTTP/2 it holds the client's window for the stream, by default at most 400 KiB, and one frame
//!   more; if the window is shut, one frame.
//! * The event that the handler waits to send.
//! * The kernel's send buffer, outside of the process. On Linux it grows up to the maximum of
//!   `net.ipv4.tcp_wmem`, 4 MiB by default.
//!
//! Measured with hyper itself, the first three add up to 350 kB for events of 10 bytes, 310 kB for 1 kB,
//! 540 kB for 60 kB, and two events for events of 10 MB. hyper's `max_buf_size` lowers its part.
//! [`IoDeadline`] ends a client that never reads again, and [`StreamDeadline`] a stream of an HTTP/2
//! connection whose client reads only others.
//!
//! To send from several tasks, use [`Sender`]s. [`Session::spawn`] runs a future beside the handler.
//!
//! # Shutdown
//!
//! An event stream does not end by itself, so a server that waits for its clients waits for ever. A
//! [`Drain`] ends all sessions: each sends its client a time of its own to reconnect, and ends cleanly.
//! Clients that do not read are cut at the deadline.
//!
//! ```
//! # use http_body_util::BodyExt;
//! # use tidings_server::SseRequest;
//! use std::time::Duration;
//! use tidings_server::{Drain, Drained, SessionOptions};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let drain = Drain::new().deadline(Duration::from_secs(2));
//! let options = SessionOptions::new().drain(&drain);
//! # let (parts, ()) = http::Request::new(()).into_parts();
//! # let session = SseRequest::new(parts).options(options).open(async |_| std::future::pending().await);
//! # let client = tokio::spawn(session.into_body().collect());
//!
//! drain.start();
//! assert_eq!(drain.finished().await, Drained::Clean);
//! # assert!(client.await.unwrap().unwrap().to_bytes().starts_with(b"retry: "));
//! # }
//! ```
//!
//! A session that ends by itself, such as an answer, [may finish](SessionOptions::may_finish) until the
//! deadline.
//!
//! `tidings_axum::serve` does all of this on a signal. [`SessionOptions::max_lifetime`] ends sessions one
//! by one, for example to balance load. [`Limits`] bounds the number of sessions.
//!
//! # Come back later
//!
//! The `EventSource` of a browser gives up for ever on any status except 200. So a GET whose `Accept`
//! names `text/event-stream` is asked to come back later by a stream: a 200, a `retry:` with a random
//! time of its own, and a clean end, without any event, ID or comment. All other requests, such as the
//! POST of a client of a language model, get a 503 with `Retry-After`, which names the same time. So no
//! client takes the end of that stream for the end of an answer.
//!
//! The answer is given while the server [drains](#shutdown), and by [`SseRequest::forward`] when a feed is
//! not available. A route may give it over a limit too, by [`Limits::come_back_later`].
//!
//! # Metrics and traces
//!
//! Metrics go through the [`metrics`](https://docs.rs/metrics) facade, and cost almost nothing without a
//! recorder. Install the recorder first: a session looks up its counters when it opens.
//!
//! | Name | Kind | Labels | Meaning |
//! | --- | --- | --- | --- |
//! | `tidings_server_sessions` | gauge | | open sessions |
//! | `tidings_server_sessions_opened_total` | counter | | sessions opened |
//! | `tidings_server_sessions_closed_total` | counter | `reason` | sessions ended, by the first reason: `returned` or `failed` (also a panic) for the handler, `closed` by a handle, `gone` if the client disconnected or was cut, `lifetime`, `drained`, `replaced` by a newer session of its key, and `unopened` if the feed had no stream after the head had left |
//! | `tidings_server_sessions_refused_total` | counter | `reason` | requests that opened no session: `limit` for the total, `limit_of_key`, `drain`, `feed` if the feed did not open, or `head` if the head of the request was over 32 KiB |
//! | `tidings_server_events_total` | counter | | queued events that have data, counted with the next frame that leaves |
//! | `tidings_server_bytes_total` | counter | | bytes handed to connections, before compression |
//! | `tidings_server_frames_total` | counter | | frames handed to connections, before compression |
//! | `tidings_server_queue_high_mark_bytes` | histogram | | for each session that ended, the most bytes it had queued |
//!
//! Traces go through [`tracing`](https://docs.rs/tracing). Each session has a span `session` at level
//! `debug`, with the `path` of its request, and without its query and headers. A handler that fails or
//! panics is traced as `error`, with its message and path. Sessions that open, close or are refused are
//! traced at level `debug`.
//!
//! # Features
//! None is on by default. The crate then compiles 30 crates, itself included.
//! * `compression`: streams in zstd, gzip or br for clients that ask for it, by
//!   `SessionOptions::compression`. Adds 21 crates, and needs a C compiler.
//! * `json`: `Sender::send_json` and `Sender::send_typed`. Adds 9 crates.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod body;
#[cfg(feature = "compression")]
mod coding;
mod connection_lifetime;
mod cut;
mod drain;
#[cfg(feature = "compression")]
mod encoded_body;
#[cfg(feature = "compression")]
mod encoder;
mod ending;
mod error;
mod feed_queue;
mod feed_reader;
mod feed_source;
mod forward;
mod forwarding;
mod handler_source;
mod io_deadline;
mod limits;
mod meters;
mod open;
mod open_body;
mod options;
mod outbox;
mod outcome;
mod outgoing;
mod read_ahead;
mod reason;
mod refusal;
mod request;
mod response;
mod sender;
mod session;
mod session_info;
mod shared;
mod source;
mod stream_body;
mod stream_deadline;
mod stream_response;
mod timer;
mod waking;
mod watch;
mod work;

pub use body::SessionBody;
pub use connection_lifetime::ConnectionLifetime;
pub use drain::{Drain, Drained};
pub use error::{
    BrokenSession, HandlerError, SendError, SendErrorKind, TrySendError, TrySendErrorKind,
};
#[cfg(feature = "json")]
pub use error::{SendJsonError, SendJsonErrorKind};
pub use io_deadline::IoDeadline;
pub use limits::Limits;
pub use options::SessionOptions;
pub use outgoing::Outgoing;
pub(crate) use reason::Reason;
pub use request::SseRequest;
pub use sender::Sender;
pub use session::Session;
pub use stream_body::{StreamBody, StreamBytes};
pub use stream_deadline::{StreamDeadline, StreamTask};
pub use stream_response::StreamResponse;
#[doc(no_inline)]
pub use tidings_proto::{
    EncodedEvents, Event, EventId, EventName, Feed, FeedError, FeedErrorKind, FeedOpened,
    Heartbeat, IntoEventId, IntoEventName, MAX_QUEUED_BYTES,
};

/// Compiles the programs of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
