//! Server-Sent Events routes for [axum], and a server to run them.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use axum::Router;
//! use tidings_axum::{RouterExt, serve, shutdown_signal};
//! use tidings_proto::Event;
//! use tidings_server::Session;
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
//! * [`RouterExt::sse`] and [`sse`]: a session's handler as a route's.
//! * [`SseRequest`]: an extractor for handlers that may answer something else first.
//! * [`serve`]: the ready way to run a router of streams, and to end it: with
//!   [`shutdown_signal`], say.
//!
//! # Features
//! * `compression`: `SessionOptions::compression`.
//! * `http2`: `Serve::http2`.
//! * `json`: `Session::send_json` and `Session::send_typed`.

mod connection;
mod extract;
mod handler;
mod router;
mod serve;
mod signal;

pub use extract::SseRequest;
pub use handler::{Sse, SseHandler, sse};
pub use router::RouterExt;
pub use serve::{Serve, serve};
pub use signal::shutdown_signal;
