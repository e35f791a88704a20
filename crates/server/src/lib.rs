//! Server-Sent Events for any server that speaks `http` types: hyper, tower, axum, warp.
//!
//! A handler is one async function per client. It is polled by the connection that reads the
//! response, so a session costs no task and no channel: one bounded queue, and one timer if it has
//! a heartbeat or a lifetime. Waits run on tokio's timer, so it needs a tokio runtime with time
//! enabled.
//!
//! For traffic in both directions use a WebSocket.
//!
//! # Six lines to a stream
//!
//! ```
//! # use std::time::Duration;
//! # use http_body_util::BodyExt;
//! use tidings_proto::Event;
//! use tidings_server::{HandlerError, Session, SessionBody, SseRequest};
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
//! `answer` is for any server; on axum the last part is `Router::new().sse("/events", events)`,
//! of `tidings-axum`, which also has the server to run it. The head leaves before the handler
//! runs, so a client is open at once. When the handler returns the stream ends; when it fails or
//! panics, what it sent still leaves, and the response is cut, so that the client can tell; when
//! the client goes, the handler is dropped where it waits. A request that is to be answered
//! otherwise, by a 401 or a 404, is simply not opened.
//!
//! # An answer of a language model
//!
//! What a handler awaits is its own business: a stream of tokens, a channel, a job.
//!
//! ```
//! # #[cfg(not(feature = "json"))]
//! # fn main() {}
//! # #[cfg(feature = "json")]
//! # mod example {
//! # use http_body_util::BodyExt;
//! # use tidings_server::SseRequest;
//! use futures_util::{Stream, StreamExt};
//! use tidings_proto::Event;
//! use tidings_server::{HandlerError, Session};
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
//! # #[tokio::main(flavor = "current_thread")]
//! # pub async fn main() {
//! # let tokens = futures_util::stream::iter([Ok("Hel".to_owned()), Ok("lo".to_owned())]);
//! # let (parts, ()) = http::Request::new(()).into_parts();
//! # let response = SseRequest::new(parts).open(async |session| answer(tokens, session).await);
//! # let sent = response.into_body().collect().await.unwrap().to_bytes();
//! # let expected = "data: {\"delta\":\"Hel\"}\n\ndata: {\"delta\":\"lo\"}\n\ndata: [DONE]\n\n";
//! # assert_eq!(sent, expected);
//! # }
//! # }
//! # #[cfg(feature = "json")]
//! # use example::main;
//! ```
//!
//! A reader who stops reading an answer stops it, at no cost: the handler is dropped, and with it
//! the stream of tokens. An upstream that fails is the `?`, and cuts the response.
//!
//! # Resume
//!
//! A client that comes back says which event it heard last, if events have ids.
//!
//! ```
//! # use http_body_util::BodyExt;
//! # use tidings_server::SseRequest;
//! use tidings_proto::Event;
//! use tidings_server::{HandlerError, Session};
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
//! A page that was loaded anew cannot set the header; `?last_event_id=` stands for it.
//!
//! # What a hub says
//!
//! A [`Feed`](tidings_proto::Feed), such as a hub's subscription, knows by itself where a client goes
//! on, and has its events encoded already. [`SseRequest::forward`] looks first whether there is
//! anything to hear, and answers 204 if not; [`Session::forward`] is for a handler that also sends
//! events of its own.
//!
//! # Typed events
//!
//! A serde enum is the protocol: a variant is an event's name, what it holds is the data as JSON.
//! The client hears the same enum. See `Sender::send_typed`.
//!
//! # Heartbeats and proxies
//!
//! Proxies cut what is quiet for 30 or 60 s, and a server notices that a client is gone when it
//! writes. A heartbeat serves both; none is sent unless it is asked for, in the handler or for a
//! route:
//!
//! ```
//! use std::time::Duration;
//! use tidings_proto::{Event, Heartbeat};
//! use tidings_server::{Session, SessionOptions};
//!
//! // A comment after 15 s of quiet.
//! let options = SessionOptions::new().heartbeat(Heartbeat::default());
//!
//! // Every second, whatever else is sent, an event that pages hear.
//! # fn start(session: &Session) {
//! session.heartbeat(Heartbeat::every(Duration::from_secs(1)).event(Event::new("beat")).always(true));
//! # }
//! ```
//!
//! The head says `X-Accel-Buffering: no` and `Cache-Control: no-store`, so that proxies neither
//! hold a stream back nor keep it. nginx speaks HTTP/1.0 to what is behind it unless it is told
//! `proxy_http_version 1.1`: there a response that is cut looks like one that ends.
//!
//! A browser has six connections to a host over HTTP/1.1, for all its pages together, and a stream
//! holds one. Let it speak HTTP/2, which to a browser means TLS, as by a proxy.
//!
//! # Backpressure
//!
//! [`send`](Sender::send) returns at once while at most 64 KiB are queued, and else waits for the
//! client to read. So one that stops reading stops its handler, and nothing else.
//! [`try_send`](Sender::try_send) is for what had better be left out, and
//! [`flush`](Sender::flush) for handlers that compute between sends; all others need none, as what is
//! queued leaves whenever the handler waits.
//!
//! Below the queue lie hyper's buffer and the kernel's, which fill first. So a client that reads
//! nothing costs, beyond an idle one:
//!
//! * the session's queue: 64 KiB, or the one larger event that goes alone;
//! * hyper's buffer on HTTP/1.1: by default 16 frames or 408 KiB, whichever is reached first, and the
//!   frame that reaches it. Small events leave in frames of 16 KiB, which makes 256 KiB. On HTTP/2 it
//!   is what the client's window of the stream lets in, 400 KiB at most by default, and the frame
//!   beyond it; of a window that is shut, the frame alone;
//! * the event that the handler waits to send;
//! * outside of the process the kernel's buffer, on Linux up to the most of `net.ipv4.tcp_wmem`, 4 MiB
//!   by default.
//!
//! Measured, the first three come to 350 kB for events of 10 bytes, 310 kB of 1 kB, 540 kB of 60 kB,
//! and for events of 10 MB to two of them. hyper's part is lowered by its `max_buf_size`. See
//! [`IoDeadline`] for how a client that never reads again is ended.
//!
//! Several tasks send through [`Sender`]s; [`Session::spawn`] runs a future beside the handler.
//!
//! # Shutdown
//!
//! A stream has no end of its own, so a server that waits for its clients waits for ever. A
//! [`Drain`] ends all sessions: each client is told when to come back, at a time of its own, and its
//! stream ends cleanly. Those that read nothing cannot be told, and are cut at the deadline.
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
//! A session that has an end of its own, such as an answer, [may
//! finish](SessionOptions::may_finish) until the deadline.
//!
//! `tidings_axum::serve` does all that on a signal. [`SessionOptions::max_lifetime`] ends sessions
//! one by one, as for a balance of load, and [`Limits`] bounds how many there are.
//!
//! # Metrics and traces
//!
//! What is counted goes through the [`metrics`](https://docs.rs/metrics) facade; without a recorder it
//! costs next to nothing. Counters and the gauge are asked of the recorder when a session opens, so
//! install it before.
//!
//! | Name | Kind | Labels | What |
//! | --- | --- | --- | --- |
//! | `tidings_server_sessions` | gauge | | sessions open now |
//! | `tidings_server_sessions_opened_total` | counter | | sessions opened |
//! | `tidings_server_sessions_closed_total` | counter | `reason` | sessions ended, by what ended each first: its handler has `returned` or `failed` (a panic too), it was `closed`, its client is `gone` or was cut, its `lifetime` was over, the server `drained` |
//! | `tidings_server_sessions_refused_total` | counter | `reason` | requests that opened none: over the `limit` in all, the `limit_of_key`, while the server drains, `drain`, or because their `feed` did not open |
//! | `tidings_server_events_total` | counter | | events with data that were queued, counted with the next frame that leaves |
//! | `tidings_server_bytes_total` | counter | | bytes handed to connections, before compression |
//! | `tidings_server_frames_total` | counter | | frames handed to connections, before compression |
//! | `tidings_server_queue_high_mark_bytes` | histogram | | for each session that ended, the most bytes that it had queued |
//!
//! Traces go through [`tracing`](https://docs.rs/tracing), within a span `session` at the level of
//! `debug`, whose `path` is that of the request: never its query, nor a header. A handler that fails
//! or panics is an `error` with its message and that path; what opened, closed and was refused is told
//! at `debug`.
//!
//! # Features
//! * `compression`: streams in zstd, gzip or br for clients that ask, by
//!   `SessionOptions::compression`.
//! * `json`: `Sender::send_json` and `Sender::send_typed`.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod body;
#[cfg(feature = "compression")]
mod coding;
mod cut;
mod drain;
#[cfg(feature = "compression")]
mod encoded_body;
#[cfg(feature = "compression")]
mod encoder;
mod error;
mod forward;
mod head;
mod io_deadline;
mod limits;
mod meters;
mod open;
mod open_body;
mod options;
mod outgoing;
mod reason;
mod request;
mod response;
mod sender;
mod session;
mod shared;
mod timer;
mod turn;
mod watch;
mod work;

pub use body::SessionBody;
pub use drain::{Drain, Drained};
pub use error::{BrokenSession, Error, HandlerError, TrySendError};
pub use io_deadline::IoDeadline;
pub use limits::Limits;
pub use options::SessionOptions;
pub use outgoing::Outgoing;
pub(crate) use reason::Reason;
pub use request::SseRequest;
pub use sender::Sender;
pub use session::Session;
