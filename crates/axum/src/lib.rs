//! Server-Sent Events routes for [axum], and a server to run them.
//!
//! ```toml
//! [dependencies]
//! axum = "0.8"
//! tidings-axum = "0.1"
//! tokio = { version = "1", features = ["macros", "rt-multi-thread"] }
//! ```
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use axum::Router;
//! use tidings_axum::{Event, RouterExt, Session, serve, shutdown_signal};
//!
//! #[tokio::main]
//! async fn main() -> std::io::Result<()> {
//!     let app = Router::new().sse("/events", async |session: Session| {
//!         for n in 0..6 {
//!             session.send(Event::new(format!("this is SSE #{n}")).id(n)).await?;
//!             tokio::time::sleep(Duration::from_secs(1)).await;
//!         }
//!         Ok(())
//!     });
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//!     serve(listener, app).drain_on(shutdown_signal()).await
//! }
//! ```
//!
//! Then `curl -N http://127.0.0.1:8080/events` prints an event each second.
//!
//! * [`RouterExt::sse`] and [`sse`] turn a session's handler into a route.
//! * [`SseRequest`] is an extractor for handlers that may also answer with another response, or that
//!   [forward](SseRequest::forward) the feed of a hub.
//! * [`serve`] runs a router over TCP, Unix sockets or your own listener, and ends it in bounded time, for
//!   example on a [`shutdown_signal`].
//!
//! [`tidings_server`] explains handlers: how they resume, send typed events, wait for slow clients, and end.
//! The types that it uses are re-exported here.
//!
//! # From another origin
//!
//! A page of another origin needs CORS, with a preflight for `Last-Event-ID` when it reconnects.
//! `tower-http` answers both:
//!
//! ```
//! # use axum::body::Body;
//! # use axum::http::Request;
//! # use tower_service::Service;
//! use axum::Router;
//! use axum::http::{HeaderName, HeaderValue, Method, header};
//! use tidings_axum::headers::LAST_EVENT_ID;
//! use tidings_axum::{Event, RouterExt, Session};
//! use tower_http::cors::CorsLayer;
//!
//! let cors = CorsLayer::new()
//!     .allow_origin(HeaderValue::from_static("https://shop.example"))
//!     .allow_methods([Method::GET])
//!     .allow_headers([header::CACHE_CONTROL, HeaderName::from_static(LAST_EVENT_ID)]);
//! let app: Router = Router::new()
//!     .sse("/events", async |session: Session| {
//!         session.send(Event::new("hello")).await?;
//!         Ok(())
//!     })
//!     .layer(cors);
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn request(mut app: Router) {
//! #     let preflight = Request::options("/events")
//! #         .header("origin", "https://shop.example")
//! #         .header("access-control-request-method", "GET")
//! #         .header("access-control-request-headers", "last-event-id");
//! #     let answer = app.call(preflight.body(Body::empty()).unwrap()).await.unwrap();
//! #     assert!(answer.status().is_success());
//! #     let allowed = answer.headers()["access-control-allow-headers"].to_str().unwrap();
//! #     assert!(allowed.contains("last-event-id"), "{allowed}");
//! #     let get = Request::get("/events").header("origin", "https://shop.example");
//! #     let answer = app.call(get.body(Body::empty()).unwrap()).await.unwrap();
//! #     assert_eq!(answer.headers()["access-control-allow-origin"], "https://shop.example");
//! # }
//! # request(app);
//! ```
//!
//! # Limits per address
//!
//! [`serve`] puts `ConnectInfo<SocketAddr>` into the extensions of each request, and so does `axum::serve`
//! with `into_make_service_with_connect_info`. Behind a proxy it is the proxy's address, so a user or a
//! token is a better key there.
//!
//! ```
//! use std::net::SocketAddr;
//! use axum::extract::ConnectInfo;
//! use tidings_axum::{Limits, SessionOptions};
//!
//! let limits = Limits::new().max_sessions(10_000).max_sessions_per_key(6, |request| {
//!     let ConnectInfo(peer) = request.extensions.get::<ConnectInfo<SocketAddr>>()?;
//!     Some(peer.ip().to_string())
//! });
//! let options = SessionOptions::new().limits(&limits);
//! ```
//!
//! # Features
//! * `compression`: `SessionOptions::compression`.
//! * `http2`: `Serve::http2`.
//! * `json`: `Sender::send_json` and `Sender::send_typed`.
//! * `tls`: `Serve::tls`, with rustls. It needs a C compiler, for ring.

mod connection;
mod connection_limits;
mod extract;
mod handler;
mod router;
mod serve;
mod short_answer;
mod signal;
#[cfg(feature = "tls")]
mod tls;

pub use extract::SseRequest;
pub use handler::{Sse, SseHandler, sse};
pub use router::RouterExt;
pub use serve::{Serve, ServeFuture, serve};
pub use signal::shutdown_signal;
#[cfg(feature = "tls")]
pub use tls::{OverTls, Tls, TlsError};

#[doc(no_inline)]
pub use tidings_proto::{
    EncodedEvents, Event, EventId, EventName, Feed, FeedError, FeedErrorKind, FeedOpened, Gap,
    GapReason, Heartbeat, headers,
};
#[doc(no_inline)]
pub use tidings_server::{
    Drain, Drained, HandlerError, IoDeadline, Limits, SendError, SendErrorKind, Sender, Session,
    SessionOptions, StreamBody, StreamDeadline, TrySendError, TrySendErrorKind,
};
#[cfg(feature = "json")]
#[doc(no_inline)]
pub use tidings_server::{SendJsonError, SendJsonErrorKind};

/// The README, so that its program is compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
