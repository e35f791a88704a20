//! A client of Server-Sent Events, over any transport.
//!
//! It resumes where it stopped, ends with one clear error, and holds bounded memory whatever the
//! server sends. A [`Session`] is a stream without a task: it reads while it is polled. Waits run
//! on tokio's timer, so it needs a tokio runtime with time enabled.
//!
//! The examples run against an `axum::Router` in the same process, as any tower service is a
//! [`Transport`]. Over the network, `tidings::client()` stands for `SseClient::over(transport)`;
//! the rest is the same.
//!
//! # Hear a stream
//!
//! ```
//! # use axum::{Router, response::IntoResponse, routing::get};
//! # use axum::http::{HeaderMap, StatusCode};
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let transport = Router::new().route("/events", get(async |headers: HeaderMap| {
//! #     match headers.get("last-event-id") {
//! #         None => ([("content-type", "text/event-stream")], "id: 1\ndata: a\n\n").into_response(),
//! #         Some(_) => StatusCode::NO_CONTENT.into_response(),
//! #     }
//! # }));
//! # let mut heard = 0;
//! use tidings_client::{Reconnect, SseClient};
//!
//! let client = SseClient::over(transport).reconnect(Reconnect::standard());
//!
//! let mut session = client.get("http://localhost:8080/events").open().await?;
//! while let Some(event) = session.try_next().await? {
//!     println!("{}: {}", event.event_type(), event.text());
//! #   heard += 1;
//! }
//! # assert_eq!(heard, 1);
//! # Ok(())
//! # }
//! ```
//!
//! An `Err` comes once and is the last: whatever can be mended is mended before. Without a policy
//! nothing is: [`Reconnect::off`] is the default.
//!
//! # Resume
//!
//! A session that loses its connection makes another by itself and says `Last-Event-ID`, so the
//! server can go on where it was. What to keep over a restart is [`Session::last_event_id`]: it
//! moves as events are handed out, and not as they arrive.
//!
//! ```
//! # use axum::{Router, response::IntoResponse, routing::get};
//! # use axum::http::{HeaderMap, StatusCode};
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # // Three events, one a connection.
//! # let transport = Router::new().route("/events", get(async |headers: HeaderMap| {
//! #     let last = headers.get("last-event-id").map_or("0", |id| id.to_str().unwrap());
//! #     match last.parse::<u32>().unwrap() + 1 {
//! #         next @ ..=3 => {
//! #             let event = format!("id: {next}\ndata: event {next}\n\n");
//! #             ([("content-type", "text/event-stream")], event).into_response()
//! #         }
//! #         _ => StatusCode::NO_CONTENT.into_response(),
//! #     }
//! # }));
//! # let client = tidings_client::SseClient::over(transport)
//! #     .reconnect(tidings_client::Reconnect::standard());
//! # let mut heard = Vec::new();
//! # let stored = "1";
//! use tidings_client::EventId;
//!
//! let mut last = EventId::new(stored)?;
//! let request = client.get("http://localhost:8080/events").last_event_id(last.clone());
//! let mut session = request.open().await?;
//! while let Some(event) = session.try_next().await? {
//!     println!("{}", event.text());
//! #   heard.push(event.text().to_owned());
//!     if let Some(id) = session.last_event_id() {
//!         last = id.clone();
//!     }
//! }
//! # assert_eq!((heard.join(", ").as_str(), last.as_str()), ("event 2, event 3", "3"));
//! # Ok(())
//! # }
//! ```
//!
//! # Typed events
//!
//! A serde enum is the protocol: a variant is an event's name, what it holds is the data as JSON.
//! The server sends the same enum. What is no value of it is kept whole, and the session goes on.
//!
//! ```
//! # #[cfg(not(feature = "json"))]
//! # fn main() {}
//! # #[cfg(feature = "json")]
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let transport = axum::Router::new().route("/shop", axum::routing::get(async || {
//! #     let events = "event: product\ndata: {\"id\":0,\"prices\":[100,200]}\n\n\
//! #         event: weather\ndata: rain\n\nevent: resync\ndata:\n\n";
//! #     ([("content-type", "text/event-stream")], events)
//! # }));
//! # let client = tidings_client::SseClient::over(transport);
//! # let mut heard = Vec::new();
//! #[derive(serde::Deserialize)]
//! #[serde(rename_all = "snake_case")]
//! enum Shop {
//!     Product { id: u32, prices: Vec<u32> },
//!     Resync,
//! }
//!
//! let session = client.get("http://localhost:8080/shop").open().await?;
//! let mut shop = session.typed::<Shop>();
//! while let Some(event) = shop.try_next().await? {
//! #   heard.push(matches!(event.data, Some(Ok(_))));
//!     match event.data {
//!         Some(Ok(Shop::Product { id, prices })) => println!("product {id}: {prices:?}"),
//!         Some(Ok(Shop::Resync)) => println!("from the beginning"),
//!         Some(Err(undecodable)) => eprintln!("{undecodable}: {}", undecodable.event().text()),
//!         None => {}
//!     }
//! }
//! # assert_eq!(heard, [true, false, true]);
//! # Ok(())
//! # }
//! ```
//!
//! One event at a time, [`Event::json`] reads the data as any type.
//!
//! # An answer of a language model
//!
//! [`until`](RequestBuilder::until) tells a whole answer from a cut one. A request that is no GET
//! is sent once, whatever the policy, unless it [may be
//! repeated](RequestBuilder::may_be_repeated).
//!
//! ```
//! # #[cfg(not(feature = "json"))]
//! # fn main() {}
//! # #[cfg(feature = "json")]
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let transport = axum::Router::new().route("/v1/chat", axum::routing::post(async || {
//! #     let events = "data: {\"token\":\"Good \"}\n\ndata: {\"token\":\"day\"}\n\ndata: [DONE]\n\n";
//! #     ([("content-type", "text/event-stream")], events)
//! # }));
//! # let client = tidings_client::SseClient::over(transport);
//! # let key = "secret";
//! #[derive(serde::Deserialize)]
//! struct Chunk {
//!     token: String,
//! }
//!
//! let prompt = serde_json::json!({ "prompt": "Say hello", "stream": true });
//! let request = client.post("http://localhost:8080/v1/chat").bearer(key).json(&prompt);
//!
//! let mut chunks = request.until(|event| event.text() == "[DONE]").open().await?;
//! let mut answer = String::new();
//! while let Some(event) = chunks.try_next().await? {
//!     answer += &event.json::<Chunk>()?.token;
//! }
//! assert_eq!(answer, "Good day");
//! # Ok(())
//! # }
//! ```
//!
//! # Tokens that expire
//!
//! [`before_connect`](SseClient::before_connect) runs before each attempt, so a session that lives
//! for days connects again with a token of today. Credentials go to the origin that you named, and
//! nowhere else that a redirect leads.
//!
//! ```
//! # use axum::{Router, response::IntoResponse, routing::get};
//! # use axum::http::{HeaderMap, StatusCode};
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let transport = Router::new().route("/private", get(async |headers: HeaderMap| {
//! #     match headers["authorization"].to_str().unwrap() {
//! #         "Bearer 1" => ([("content-type", "text/event-stream")], "data: a\n\n").into_response(),
//! #         "Bearer 2" => StatusCode::NO_CONTENT.into_response(),
//! #         _ => StatusCode::UNAUTHORIZED.into_response(),
//! #     }
//! # }));
//! # let client = tidings_client::SseClient::over(transport)
//! #     .reconnect(tidings_client::Reconnect::standard());
//! # use std::sync::atomic::{AtomicU32, Ordering};
//! # static TOKEN: AtomicU32 = AtomicU32::new(0);
//! # async fn fresh_token() -> std::io::Result<String> {
//! #     Ok((TOKEN.fetch_add(1, Ordering::Relaxed) + 1).to_string())
//! # }
//! let client = client.before_connect(|mut attempt| async {
//!     attempt.set_bearer(fresh_token().await?)?;
//!     Ok(attempt)
//! });
//! let mut session = client.get("http://localhost:8080/private").open().await?;
//! # while session.try_next().await?.is_some() {}
//! # assert_eq!(TOKEN.load(Ordering::Relaxed), 2);
//! # Ok(())
//! # }
//! ```
//!
//! # Errors
//!
//! There is one [`Error`]. It says what [kind](ErrorKind) it is, whether [another try may
//! help](Error::is_retryable), [how the server refused](Error::response), [where the session
//! was](Error::last_event_id) and, by [`BufferPolicy`], [what was read](Error::buffer).
//!
//! ```
//! # use axum::{Router, http::StatusCode, routing::get};
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! # let transport = Router::new()
//! #     .route("/private", get((StatusCode::UNAUTHORIZED, "who are you?")))
//! #     .route("/answer", get(([("content-type", "text/event-stream")], "data: Good \n\n")));
//! # let client = tidings_client::SseClient::over(transport);
//! use tidings_client::{BufferPolicy, ErrorKind};
//!
//! let error = client.get("http://localhost:8080/private").open().await.unwrap_err();
//! assert!(matches!(error.kind(), ErrorKind::Status(status) if *status == 401));
//! assert_eq!(error.response().unwrap().body(), "who are you?");
//! assert!(!error.is_retryable());
//!
//! let request = client.get("http://localhost:8080/answer").buffer_policy(BufferPolicy::All);
//! let request = request.until(|event| event.text() == "[DONE]");
//! let mut chunks = request.open().await.unwrap();
//! assert_eq!(chunks.try_next().await.unwrap().unwrap().text(), "Good ");
//! let error = chunks.try_next().await.unwrap_err();
//! assert_eq!(error.kind(), &ErrorKind::EndedEarly);
//! assert_eq!(error.buffer(), Some("data: Good \n\n"));
//! assert!(error.is_retryable());
//! # }
//! ```
//!
//! # What else to know
//!
//! **A session costs no task.** It connects, reads and waits while it is polled, by
//! [`try_next`](Session::try_next) or as a `futures_core::Stream`. Not polling it stops reading,
//! and the server feels that: backpressure. Dropping it, or the future that opens it, closes the
//! connection.
//!
//! **Policies** say whether and when to connect again:
//!
//! | policy | attempts in one outage | the wait before each |
//! | --- | --- | --- |
//! | [`Reconnect::off`] | none: an end is `None`, a break an `Err` | |
//! | [`Reconnect::fixed`], or [two numbers](SseClient::max_reconnection_attempts) | as many as you say, the first connection not included | always what you say, or the server's `retry` |
//! | [`Reconnect::standard`] | for ever, the first connection included | 3 s or the server's `retry`; after failed attempts up to 30 s, with jitter |
//! | your own [`ReconnectionStrategy`] | as its async method says | as it says |
//!
//! A refusal is never repeated, unless [`Reconnect::retry_refusals`] lets 408, 425, 429 and 5xx
//! be, after their `Retry-After`.
//!
//! **Timeouts** are three, none is set, and none cuts a stream that flows:
//! [`connect_timeout`](SseClient::connect_timeout),
//! [`response_timeout`](SseClient::response_timeout) until the head, and
//! [`idle_timeout`](SseClient::idle_timeout) between two bytes, those of a comment included.
//!
//! **Limits**: an event has at most [16 MiB](SseClient::max_event_bytes), a refusal's body [64
//! KiB](SseClient::max_error_body_bytes) within 5 s, a redirect leads on 20 times, and a server's
//! `retry` is taken for 200 ms to 1 h.
//!
//! **What happens between events** is told by [`on_lifecycle`](SseClient::on_lifecycle), in order
//! as a [`Lifecycle`], and by [`Session::state`] and [`Session::last_error`] at any time.
//!
//! **A block over a session** is [`run`](RequestBuilder::run); what is to happen beside the
//! stream, and to end with it, stands in a `tokio::select!` or `tokio::join!` within the block.
//! [`run_with_retry`](RequestBuilder::run_with_retry) makes the whole call again.
//!
//! **Transports** are three: `tidings_hyper::client()`, one connection a session and no pool;
//! `tidings_reqwest`, over a `reqwest::Client` that you have; and any tower service of `http`
//! types, as in the examples. [`Transport`] is one method.
//!
//! **Hubs** number their events by position. Of such a stream, [`gaps`](SseClient::gaps) tells
//! what is missing as [`Lifecycle::Gap`], and [`dedupe`](SseClient::dedupe) drops what a
//! reconnection repeats.
//!
//! **Traced** is each step of the lifecycle, at level debug, or warn where events are lost, in a
//! span of method, host and port: never a path, a query or a header.
//!
//! # Features
//! * `json`: `Session::typed`; `Event::json` on what is heard, JSON bodies, and gaps.
#![cfg_attr(
    not(feature = "json"),
    allow(rustdoc::broken_intra_doc_links, reason = "they name what `json` adds")
)]

mod attempt;
mod buffer;
mod client;
mod credentials;
mod driver;
mod error;
mod lifecycle;
mod refusal;
mod request;
mod run;
mod service;
mod session;
mod settings;
mod strategy;
mod template;
mod timer;
mod transport;
#[cfg(feature = "json")]
mod typed;
mod url;

/// The types of requests and responses, as they stand in signatures here.
pub use http;

pub use attempt::Attempt;
pub use buffer::BufferPolicy;
pub use client::SseClient;
pub use error::{Error, ErrorKind};
pub use lifecycle::{ConnectionState, Lifecycle};
pub use request::RequestBuilder;
pub use service::RequestBody;
pub use session::Session;
pub use strategy::{Outage, ReconnectionStrategy};
pub use tidings_proto::{
    Event, EventId, EventName, Gap, GapReason, InvalidEventId, InvalidEventName, Reconnect,
};
#[cfg(feature = "json")]
pub use tidings_proto::{Format, Json, Undecodable};
pub use transport::{
    ConnectError, ConnectTimeout, Connecting, FinalUrl, ResponseBody, Transport, TransportError,
};
#[cfg(feature = "json")]
pub use typed::TypedSession;
pub use url::IntoUrl;
