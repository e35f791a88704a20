//! A client of Server-Sent Events over any transport.
//!
//! It resumes where it stopped, ends with one clear error, and holds bounded memory for any
//! stream. A [`Session`] is a stream without a task: it reads while you poll it. Its timers
//! need a tokio runtime with time enabled.
//!
//! # The first program
//!
//! ```sh
//! cargo add tidings-client tidings-hyper
//! cargo add tokio --features macros,rt-multi-thread
//! ```
//!
//! ```
//! # mod tidings_hyper {
//! #     use axum::{Router, response::IntoResponse, routing::get};
//! #     use axum::http::{HeaderMap, StatusCode};
//! #     pub fn client() -> tidings_client::SseClient {
//! #         let stream = "retry: 200\nid: 1\ndata: a\n\n";
//! #         let events = async move |headers: HeaderMap| match headers.get("last-event-id") {
//! #             None => ([("content-type", "text/event-stream")], stream).into_response(),
//! #             Some(_) => StatusCode::NO_CONTENT.into_response(),
//! #         };
//! #         tidings_client::SseClient::over_service(Router::new().route("/events", get(events)))
//! #     }
//! # }
//! use tidings_client::{Error, Lifecycle, Reconnect};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Error> {
//!     let client = tidings_hyper::client()
//!         .reconnect(Reconnect::standard())
//!         .on_lifecycle(|step| match step {
//!             Lifecycle::Open { .. } => eprintln!("connected"),
//!             Lifecycle::Lost { error: Some(error), .. } => eprintln!("lost: {error}"),
//!             Lifecycle::Waiting { delay, .. } => eprintln!("reconnecting in {delay:?}"),
//!             _ => {}
//!         });
//!
//!     let mut session = client.get("http://localhost:8080/events").open().await?;
//!     while let Some(event) = session.try_next().await? {
//!         println!("{}: {}", event.event_type(), event.text());
//!     }
//!     Ok(())
//! }
//! ```
//!
//! With the crate `tidings`, begin with `tidings::client()`; this crate is its module
//! `tidings::client`.
//!
//! An `Err` comes once, and is the last item: the session has already tried everything that its
//! policy allows. The default policy is [`Reconnect::off`], which never reconnects. Under
//! `standard()`, `open` waits until there is a connection, if need be for ever; the hook of
//! [`on_lifecycle`](SseClient::on_lifecycle) shows each attempt.
//!
//! The other examples on this page run against an `axum::Router` in the same process, as you can do
//! in your tests: [`SseClient::over_service`] makes a client over any tower service.
//!
//! # Resume
//!
//! A session that loses its connection reconnects by itself and sends `Last-Event-ID`, so that the
//! server can continue after the last event. To resume after a restart, store
//! [`Session::last_event_id`]. It moves when you read an event, not when the event arrives.
//!
//! ```
//! # use axum::{Router, response::IntoResponse, routing::get};
//! # use axum::http::{HeaderMap, StatusCode};
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # // Three events, one a connection.
//! # let router = Router::new().route("/events", get(async |headers: HeaderMap| {
//! #     let last = headers.get("last-event-id").map_or("0", |id| id.to_str().unwrap());
//! #     match last.parse::<u32>().unwrap() + 1 {
//! #         next @ ..=3 => {
//! #             let event = format!("id: {next}\ndata: event {next}\n\n");
//! #             ([("content-type", "text/event-stream")], event).into_response()
//! #         }
//! #         _ => StatusCode::NO_CONTENT.into_response(),
//! #     }
//! # }));
//! # let client = tidings_client::SseClient::over_service(router)
//! #     .reconnect(tidings_client::Reconnect::standard());
//! # let mut read = Vec::new();
//! let mut stored = String::from("1");
//!
//! let request = client.get("http://localhost:8080/events").last_event_id(stored.as_str());
//! let mut session = request.open().await?;
//! while let Some(event) = session.try_next().await? {
//!     println!("{}", event.text());
//! #   read.push(event.text().to_owned());
//!     if let Some(id) = session.last_event_id() {
//!         stored = id.to_string();
//!     }
//! }
//! # assert_eq!((read.join(", ").as_str(), stored.as_str()), ("event 2, event 3", "3"));
//! # Ok(())
//! # }
//! ```
//!
//! [`Session::reconnect`] drops the connection and resumes at once, for a client that learns that
//! its network has changed.
//!
//! # A program that runs for months
//!
//! * [`Reconnect::persistent`] also retries refusals that may be temporary.
//! * [`idle_timeout`](SseClient::idle_timeout) detects a peer that has vanished. Without it, the
//!   session waits for such a peer for ever, in silence. The server must send events or heartbeats at
//!   shorter intervals.
//! * [`connect_timeout`](SseClient::connect_timeout) and
//!   [`response_timeout`](SseClient::response_timeout) limit each attempt.
//! * [`try_next`](Session::try_next) is cancel-safe, so `tokio::select!` can also wait for a signal
//!   (tokio's feature `signal`).
//! * A file holds the ID of the last event that you have processed. Replace it by a rename, so that a
//!   crash leaves no half of an ID.
//!
//! ```no_run
//! # async fn process(event: &tidings_client::Event) {}
//! # async fn follow(
//! #     client: tidings_client::SseClient,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use std::{fs, io, pin};
//! use tidings_client::Reconnect;
//!
//! let client = client
//!     .reconnect(Reconnect::persistent())
//!     .connect_timeout(Duration::from_secs(10))
//!     .response_timeout(Duration::from_secs(30))
//!     .idle_timeout(Duration::from_secs(60));
//!
//! let mut request = client.get("http://localhost:8080/events");
//! match fs::read_to_string("last-id") {
//!     Ok(id) => request = request.last_event_id(id.trim()),
//!     // The first start has no ID.
//!     Err(error) if error.kind() == io::ErrorKind::NotFound => {}
//!     Err(error) => return Err(error.into()),
//! }
//!
//! let mut stop = pin::pin!(tokio::signal::ctrl_c());
//! let mut session = tokio::select! {
//!     opened = request.open() => opened?,
//!     _ = &mut stop => return Ok(()),
//! };
//! loop {
//!     let event = tokio::select! {
//!         event = session.try_next() => event?,
//!         _ = &mut stop => return Ok(()),
//!     };
//!     let Some(event) = event else {
//!         return Ok(()); // The server answered 204: there are no more events.
//!     };
//!     process(&event).await;
//!     if let Some(id) = session.last_event_id() {
//!         fs::write("last-id.new", id.as_str())?;
//!         fs::rename("last-id.new", "last-id")?;
//!     }
//! }
//! # }
//! ```
//!
//! # Typed events
//!
//! A serde enum is the protocol: an event's name chooses the variant, and its data is the content
//! as JSON. The server sends the same enum. An event that is no value of the enum is kept whole, and
//! the session continues.
//!
//! ```
//! # #[cfg(not(feature = "json"))]
//! # fn main() {}
//! # #[cfg(feature = "json")]
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let router = axum::Router::new().route("/shop", axum::routing::get(async || {
//! #     let events = "event: product\ndata: {\"id\":0,\"prices\":[100,200]}\n\n\
//! #         event: weather\ndata: rain\n\nevent: resync\ndata:\n\n";
//! #     ([("content-type", "text/event-stream")], events)
//! # }));
//! # let client = tidings_client::SseClient::over_service(router);
//! # let mut read = Vec::new();
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
//! #   read.push(matches!(event.data, Some(Ok(_))));
//!     match event.data {
//!         Some(Ok(Shop::Product { id, prices })) => println!("product {id}: {prices:?}"),
//!         Some(Ok(Shop::Resync)) => println!("from the beginning"),
//!         Some(Err(undecodable)) => eprintln!("{undecodable}: {}", undecodable.event().text()),
//!         None => {}
//!     }
//! }
//! # assert_eq!(read, [true, false, true]);
//! # Ok(())
//! # }
//! ```
//!
//! For a single event, [`Event::json`] reads the data as any type.
//!
//! # The answer of a language model
//!
//! [`until`](RequestBuilder::until) distinguishes a whole answer from a cut one;
//! [`until_inclusive`](RequestBuilder::until_inclusive) also delivers the last event. A request that
//! is no GET is sent once under every policy, but you can change that:
//!
//! * [`may_be_repeated`](RequestBuilder::may_be_repeated) lets it be sent again at any time;
//! * [`repeat_refusals`](RequestBuilder::repeat_refusals) lets it be sent again until the stream
//!   begins.
//!
//! ```
//! # #[cfg(not(feature = "json"))]
//! # fn main() {}
//! # #[cfg(feature = "json")]
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let router = axum::Router::new().route("/v1/chat", axum::routing::post(async || {
//! #     let events = "data: {\"token\":\"Good \"}\n\ndata: {\"token\":\"day\"}\n\ndata: [DONE]\n\n";
//! #     ([("content-type", "text/event-stream")], events)
//! # }));
//! # let client = tidings_client::SseClient::over_service(router);
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
//! Some endpoints answer with JSON or with a stream, as they choose.
//! [`open_or_response`](RequestBuilder::open_or_response) accepts both. A status other than 2xx is
//! still an `Err`.
//!
//! ```
//! # #[cfg(not(feature = "json"))]
//! # fn main() {}
//! # #[cfg(feature = "json")]
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let router = axum::Router::new().route("/mcp", axum::routing::post(async || {
//! #     ([("content-type", "application/json")], "{\"result\":7}")
//! # }));
//! # let client = tidings_client::SseClient::over_service(router);
//! # let call = serde_json::json!({});
//! # let mut result = None;
//! use tidings_client::StreamOrResponse;
//!
//! let request = client.post("http://localhost:8080/mcp").json(&call);
//! match request.open_or_response().await? {
//!     StreamOrResponse::Stream(mut session) => {
//!         while let Some(event) = session.try_next().await? {
//!             println!("{}", event.text());
//!         }
//!     }
//!     StreamOrResponse::Response(response) => {
//!         let answer: serde_json::Value = serde_json::from_slice(response.body())?;
//!         println!("{}", answer["result"]);
//! #       result = answer["result"].as_u64();
//!     }
//! }
//! # assert_eq!(result, Some(7));
//! # Ok(())
//! # }
//! ```
//!
//! # Tokens that expire
//!
//! [`before_connect`](SseClient::before_connect) runs before each attempt, so that a session that
//! lives for days reconnects with a fresh token. Credentials go to the origin that you named, and to
//! no other that a redirect leads to.
//!
//! ```
//! # use axum::{Router, response::IntoResponse, routing::get};
//! # use axum::http::{HeaderMap, StatusCode};
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let router = Router::new().route("/private", get(async |headers: HeaderMap| {
//! #     match headers["authorization"].to_str().unwrap() {
//! #         "Bearer 1" => ([("content-type", "text/event-stream")], "data: a\n\n").into_response(),
//! #         "Bearer 2" => StatusCode::NO_CONTENT.into_response(),
//! #         _ => StatusCode::UNAUTHORIZED.into_response(),
//! #     }
//! # }));
//! # let client = tidings_client::SseClient::over_service(router)
//! #     .reconnect(tidings_client::Reconnect::standard());
//! # use std::sync::atomic::{AtomicU32, Ordering};
//! # static TOKEN: AtomicU32 = AtomicU32::new(0);
//! # async fn fresh_token() -> std::io::Result<String> {
//! #     Ok((TOKEN.fetch_add(1, Ordering::Relaxed) + 1).to_string())
//! # }
//! let client = client.before_connect(async |mut attempt| {
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
//! [`before_connect_with`](SseClient::before_connect_with) gives the hook data of yours. With
//! [`retry_unauthorized`](SseClient::retry_unauthorized), a 401 runs it again: first at once, then
//! after the waits of the policy.
//!
//! # Errors
//!
//! There is one [`Error`]. It reports its [kind](ErrorKind), whether [another try may
//! help](Error::is_retryable), [the server's refusal](Error::response), [the last event
//! ID](Error::last_event_id) and, by [`BufferPolicy`], [the text that was read](Error::buffer).
//!
//! ```
//! # use axum::{Router, http::StatusCode, routing::get};
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! # let router = Router::new()
//! #     .route("/private", get((StatusCode::UNAUTHORIZED, "log in first")))
//! #     .route("/answer", get(([("content-type", "text/event-stream")], "data: Good \n\n")));
//! # let client = tidings_client::SseClient::over_service(router);
//! use tidings_client::{BufferPolicy, ErrorKind};
//!
//! let error = client.get("http://localhost:8080/private").open().await.unwrap_err();
//! assert!(matches!(error.kind(), ErrorKind::Status(status) if *status == 401));
//! assert_eq!(error.response().unwrap().body(), "log in first");
//! assert!(!error.is_retryable());
//!
//! let request = client.get("http://localhost:8080/answer").buffer_policy(BufferPolicy::All);
//! let request = request.until(|event| event.text() == "[DONE]");
//! let mut chunks = request.open().await.unwrap();
//! assert_eq!(chunks.try_next().await.unwrap().unwrap().text(), "Good ");
//! let error = chunks.try_next().await.unwrap_err();
//! assert_eq!(error.kind(), &ErrorKind::Interrupted);
//! assert_eq!(error.to_string(), "the stream from localhost:8080 was interrupted");
//! assert_eq!(error.buffer(), Some("data: Good \n\n"));
//! assert!(error.is_retryable());
//! # }
//! ```
//!
//! # Reference
//!
//! **A session costs no task.** It connects, reads and waits while you poll it, by
//! [`try_next`](Session::try_next) or as a `futures_core::Stream`. If you do not poll it, it stops
//! reading, which slows the server down: backpressure. Dropping it, or the future that opens it,
//! closes the connection.
//!
//! **A stream** is a response with status 200 and the media type `text/event-stream`; to any method
//! except GET, any 2xx status except 204 and 205 will do. Heads are read as browsers read them: of
//! several media types the last valid one counts, and an unknown `Content-Encoding` such as `utf-8`
//! is ignored. For a server that names a wrong media type or none, there are
//! [`read_media_type`](SseClient::read_media_type) and
//! [`read_any_media_type`](SseClient::read_any_media_type). A stream in a content coding that the
//! transport does not decode is [`ErrorKind::ContentEncoding`].
//!
//! **Headers** that you set are sent as they are, or `open` returns
//! [`ErrorKind::InvalidRequest`]. A request fills in `Accept` and `Cache-Control`, and its transport
//! may fill in `User-Agent`, `Host` and `Accept-Encoding`.
//!
//! **Policies** decide whether and when to reconnect:
//!
//! | policy | attempts in one outage | the wait before each |
//! | --- | --- | --- |
//! | [`Reconnect::off`] | none: an end is `None`, a break is an `Err` | |
//! | [`Reconnect::fixed`], or [two numbers](SseClient::max_reconnection_attempts) | as many as you set, the first connection not included | the time that you set, or the server's `retry` |
//! | [`Reconnect::standard`] | no limit, the first connection included | 3 s or the server's `retry`; after failed attempts up to 30 s, with jitter |
//! | [`Reconnect::persistent`] | as `standard`, and after 408, 425, 429 and 5xx | as `standard`, or the `Retry-After` of the refusal if that is longer |
//! | your own [`ReconnectionStrategy`] | as its async method returns | as it returns |
//!
//! An attempt succeeds, and ends the outage, when an event, an ID or a comment arrives. After the last
//! attempt the session fails, with [`ErrorKind::OutOfAttempts`] if the last stream ended in the regular
//! way. Any other refusal ends the session. [`retry_refusals(true)`](Reconnect::retry_refusals) lets
//! `standard` and `fixed` retry 408, 425, 429 and 5xx too.
//!
//! **Timeouts**: there are three, none is set by default, and none cuts a stream that flows.
//! [`connect_timeout`](SseClient::connect_timeout) limits the time until there is a connection,
//! [`response_timeout`](SseClient::response_timeout) the time until the response head, and
//! [`idle_timeout`](SseClient::idle_timeout) the time between two bytes, including those of comments.
//!
//! **Limits**: an event has at most [16 MiB](SseClient::max_event_bytes), and a refusal's body [64
//! KiB](SseClient::max_error_body_bytes) within 5 s, up to a silence of 1 s. A larger event ends the
//! session, or is [skipped](SseClient::skip_large_events) and reported. A session follows 20 redirects in
//! a row. A server's `retry` counts as 200 ms at least and 1 h at most; a `Retry-After` also counts as
//! [1 h at most](Reconnect::max_reconnection_time). Your own strategy receives both as sent.
//!
//! **Steps between events** are reported by [`on_lifecycle`](SseClient::on_lifecycle), in order, as
//! a [`Lifecycle`]. `Lifecycle::Lost` without an error means that the server ended the response in the
//! regular way, and its `unfinished` that it ended within an event. [`Session::state`] and
//! [`Session::last_error`] return the current state.
//!
//! **A block over a session** is [`run`](RequestBuilder::run). Work that must end with the stream
//! belongs in a `tokio::select!` or `tokio::join!` within the block.
//! [`run_with_retry`](RequestBuilder::run_with_retry) repeats the whole call.
//!
//! **Transports**: `tidings_hyper::client()` has one connection per session and no pool;
//! `tidings_reqwest` uses a `reqwest::Client` of yours; any tower service of `http` types works, as in
//! the examples. [`Transport`] is one method. This crate does not run on WebAssembly; the decoder of
//! `tidings-proto` does.
//!
//! **Hubs** number their events by [`Position`]. For such a stream, [`gaps`](SseClient::gaps)
//! reports missing events as [`Lifecycle::Gap`], and [`dedupe`](SseClient::dedupe) drops events that
//! a reconnection repeats. Both need the positions of a tidings hub: `dedupe` passes events with other
//! IDs unchanged.
//!
//! **Traces**: each step of the lifecycle, in a span of method, host and port. The span, a lost
//! connection, a wait and lost events are at level `warn`, all other steps at `debug`. No trace names
//! a path, a query or a header.
//!
//! # Features
//! * `json`: `Session::typed`, `Event::json`, JSON bodies, and gaps.
#![cfg_attr(
    not(feature = "json"),
    allow(
        rustdoc::broken_intra_doc_links,
        reason = "some items exist only with `json`"
    )
)]

#[cfg(target_family = "wasm")]
compile_error!(
    "tidings-client does not run on WebAssembly: use the decoder of tidings-proto there"
);

mod attempt;
mod buffer;
mod client;
mod credentials;
mod driver;
mod ending;
mod error;
mod head;
mod lifecycle;
mod reconnect_settings;
mod refusal;
mod request;
mod response_reader;
mod run;
mod service;
mod session;
mod settings;
mod shown_id;
mod strategy;
mod template;
mod timer;
mod transport;
#[cfg(feature = "json")]
mod typed;
mod url;

/// The types of requests and responses that signatures here use.
pub use http;

pub use attempt::Attempt;
pub use buffer::BufferPolicy;
pub use client::SseClient;
pub use error::{Error, ErrorKind};
pub use lifecycle::{ConnectionState, Lifecycle};
pub use request::{RequestBuilder, StreamOrResponse};
pub use service::{RequestBody, ServiceTransport};
pub use session::Session;
pub use strategy::{ReconnectionContext, ReconnectionStrategy};
pub use tidings_proto::{
    Comments, Event, EventId, EventName, EventTooLarge, Gap, GapReason, InvalidEventId,
    InvalidEventName, Position, Reconnect,
};
#[cfg(feature = "json")]
pub use tidings_proto::{Format, Json, Undecodable};
pub use transport::{
    ConnectError, ConnectTimeout, FinalUrl, ResponseBody, ResponseFuture, Transport, TransportError,
};
#[cfg(feature = "json")]
pub use typed::TypedSession;
pub use url::IntoUrl;
