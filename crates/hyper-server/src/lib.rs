//! HTTP/1 connections on hyper whose event streams leave hyper when they begin.
//!
//! hyper reads requests well, but holds about 10 kB for each connection, also while a stream on it waits for
//! its next event. Nothing of that is needed then. So this crate takes the socket from hyper when a response
//! is a stream of `tidings-server`, writes its head and its chunks itself, and returns the connection to
//! hyper for the next request. All other responses stay with hyper.
//!
//! `tidings_axum::serve` does this for you. With hyper itself, replace its `http1::Builder` by this
//! [`Builder`]:
//!
//! ```no_run
//! use std::convert::Infallible;
//!
//! use hyper::service::service_fn;
//! use hyper_util::rt::{TokioIo, TokioTimer};
//! use tidings_hyper_server::{Builder, RequestBody};
//! use tidings_server::{Drain, Event, IoDeadline, SseRequest};
//!
//! # type Result = std::result::Result<(), tidings_hyper_server::Error>;
//! # async fn run(stream: tokio::net::TcpStream, drain: Drain) -> Result {
//! let stream = IoDeadline::new(stream).drain(&drain);
//! let outgoing = stream.outgoing().clone();
//! let service = service_fn(async |mut request: http::Request<RequestBody>| {
//!     request.extensions_mut().insert(drain.clone());
//!     request.extensions_mut().insert(outgoing.clone());
//!     let (parts, _body) = request.into_parts();
//!     let response = SseRequest::new(parts).open(async |session| {
//!         session.send(Event::new("hello")).await?;
//!         Ok(())
//!     });
//!     Ok::<_, Infallible>(response)
//! });
//! Builder::new()
//!     .timer(TokioTimer::new())
//!     .serve_connection(TokioIo::new(stream), service)
//!     .await
//! # }
//! ```
//!
//! # Which responses leave hyper
//! Those with the [`StreamResponse`](tidings_server::StreamResponse) of `tidings-server` in their
//! extensions, if all of this is true:
//!
//! * Its status is 200, its version is 1.1 (the default), and it has no `ReasonPhrase` of hyper. The client
//!   may speak HTTP/1.0.
//! * The length of its body is not known.
//! * None of its headers describes a length, a transfer coding, trailers or an upgrade.
//! * The method of the request is neither HEAD nor CONNECT, and the request has no `Transfer-Encoding`.
//! * The body of the request was read to its end.
//! * hyper has written everything before, such as a `100 Continue`.
//!
//! Layers that keep the extensions, such as compression and traces, stay in effect: the body is the one that
//! they return.
//!
//! The client sees no difference: head and chunks are byte for byte those of hyper. Three behaviours differ:
//!
//! * When a body fails, the frames that it returned before are sent before the connection is cut.
//! * A client that closes its sending half is taken for one that leaves, also if it has sent its next request
//!   before. hyper does not look then, unless an [`IoDeadline`](tidings_server::IoDeadline) does.
//! * After an upgrade, hyper's `Upgraded::downcast` does not find the type of the connection.
//!
//! # Early bytes of a client
//! A client can send its next request, or the beginning of it, during a stream. The request is answered after
//! the stream. At most 8 KiB are kept, in addition to the bytes that hyper had read before the stream. If the
//! client sends more, the connection closes after the stream. A client that leaves is noticed at once, and
//! the body is dropped.
//!
//! # Clients that do not read
//! The body is polled only when everything before was written and flushed. So a client that does not read
//! holds at most one batch here: 16 KiB and one larger frame.

mod batch;
mod builder;
mod connection;
mod date;
mod early_bytes;
mod error;
mod head;
mod http_service;
mod offering;
mod request_body;
mod scratch;
mod slot;
mod socket;
mod streaming;
mod terms;
mod writer;

pub use builder::Builder;
pub use connection::Connection;
pub use error::Error;
pub use http_service::HttpService;
pub use request_body::RequestBody;
