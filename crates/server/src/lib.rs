//! Server-Sent Events for any server that speaks `http` types: hyper, tower, axum, warp.
//!
//! A handler is one async function per client. It is polled by the connection that reads the
//! response, so a session costs no task and no channel: one bounded queue, and one timer if it has
//! a heartbeat.
//!
//! ```
//! use std::time::Duration;
//! use tidings_proto::{Event, Heartbeat};
//! use tidings_server::{SessionBody, SseRequest};
//!
//! fn events(request: http::Request<()>) -> http::Response<SessionBody> {
//!     let (parts, _body) = request.into_parts();
//!     SseRequest::new(parts).open(async |session| {
//!         session.heartbeat(Heartbeat::default());
//!         for n in 0..6 {
//!             session.send(Event::new(format!("this is SSE #{n}")).id(n)).await?;
//!             tokio::time::sleep(Duration::from_secs(1)).await;
//!         }
//!         Ok(())
//!     })
//! }
//! ```
//!
//! For traffic in both directions use a WebSocket.
//!
//! Waits run on tokio's timer, so it needs a tokio runtime with time enabled.
//!
//! # Features
//! * `compression`: streams in zstd, gzip or br for clients that ask, by
//!   `SessionOptions::compression`.
//! * `json`: `Session::send_json` and `Session::send_typed`.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod body;
#[cfg(feature = "compression")]
mod coding;
mod drain;
#[cfg(feature = "compression")]
mod encoded_body;
#[cfg(feature = "compression")]
mod encoder;
mod error;
mod io_deadline;
mod limits;
mod meters;
mod open;
mod options;
mod reason;
mod request;
mod response;
mod sender;
mod session;
mod shared;
mod timer;
mod work;

pub use body::SessionBody;
pub use drain::{Drain, Drained};
pub use error::{BrokenSession, Error, HandlerError, TrySendError};
pub use io_deadline::IoDeadline;
pub use limits::Limits;
pub use options::SessionOptions;
pub(crate) use reason::Reason;
pub use request::SseRequest;
pub use sender::Sender;
pub use session::Session;
