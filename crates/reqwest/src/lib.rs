//! [reqwest] as a transport of the tidings client.
//!
//! It brings what reqwest has: HTTP/2, TLS, proxies, cookies, compression and pools. A client of
//! ours, with everything set for streams:
//!
//! ```no_run
//! use tidings_client::Reconnect;
//!
//! # async fn hear() -> Result<(), tidings_client::Error> {
//! let client = tidings_reqwest::client().reconnect(Reconnect::standard());
//! let mut session = client.get("https://example.com/events").open().await?;
//! while let Some(event) = session.try_next().await? {
//!     println!("{}: {}", event.event_type(), event.text());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! a `reqwest::Client` that is already there:
//!
//! ```no_run
//! use tidings_client::SseClient;
//!
//! # async fn hear() -> Result<(), Box<dyn std::error::Error>> {
//! let http = reqwest::Client::builder().user_agent("news/1.0").build()?;
//! let client = SseClient::over(tidings_reqwest::transport(http));
//! let mut session = client.get("https://example.com/events").open().await?;
//! # Ok(())
//! # }
//! ```
//!
//! or a request of reqwest's, here for the answer of a language model as it is written:
//!
//! ```no_run
//! use tidings_reqwest::RequestBuilderExt;
//!
//! # async fn hear(http: reqwest::Client, key: &str) -> Result<(), tidings_client::Error> {
//! let prompt = serde_json::json!({"prompt": "Why is the sky blue?", "stream": true});
//! let request = http.post("https://example.com/v1/completions").bearer_auth(key).json(&prompt);
//! let mut tokens = request.sse().until(|event| event.text() == "[DONE]").open().await?;
//! while let Some(token) = tokens.try_next().await? {
//!     print!("{}", token.text());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # When to take it
//! For HTTP/2, where many streams share a connection; for cookies; for a `reqwest::Client` that is
//! set up already. `tidings-hyper` costs less: it polls its connection in the session's own task,
//! while reqwest spawns a task for each connection, and every chunk crosses a channel from there.
//!
//! In both, not polling a session stops reading: what has come fills a buffer or, over HTTP/2, the
//! window of its stream, and then the server waits. Dropping a session ends its stream; that closes
//! its connection, unless others share it.
//!
//! # What a client that is handed in does
//! * **It follows redirects by its own policy.** The session then goes on where they led, and
//!   `Authorization`, `Cookie` and headers marked sensitive stay at the origin that was named
//!   whenever the session connects again. What goes along with the redirect itself is reqwest's
//!   choice: headers marked sensitive do, and so does a `Referer`, and https may lead to http. With
//!   `redirect(Policy::none())` redirects are left to the session, as in [`client()`], and none of
//!   that happens. A request that is no GET and may be repeated needs it: the session cannot know
//!   that reqwest went on with GET.
//! * **Its default headers are sent wherever it goes**, to other origins too, and the session does
//!   not know of them. Set a token on the request, or on the session's, instead.
//!   `Accept`, `Cache-Control` and `Last-Event-ID` are the session's own, and never sent twice.
//! * **Its `timeout`, which is for the whole of a response, is lifted**: it would cut every stream.
//!   That goes for the timeout of a single request too. `read_timeout` holds, and cuts a stream that
//!   is silent for longer; `connect_timeout` holds as well, and that of `SseClient` does not.
//! * **Its HTTP/2 windows are its own.** As reqwest has them, three sessions that nobody reads fill
//!   the window of their connection, and the others on it hear nothing more;
//!   `http2_initial_stream_window_size` makes room.
//!
//! # Features
//! Each turns on reqwest's feature of the same name. Those of reqwest that are not listed, such as
//! `native-tls` or `socks`, work when they are turned on for reqwest itself.
//! * `http2`, on by default.
//! * `rustls`, on by default. Without any TLS an https URL is a network error.
//! * `gzip`, `brotli`, `zstd`: streams are asked for in these encodings, and events heard as they
//!   are flushed.
//! * `cookies`: for clients built with a cookie store.

mod client;
mod error;
mod request;
mod transport;
mod unsendable;

pub use client::client;
pub use request::{RequestBuilderExt, StreamedBody};
pub use transport::{ReqwestTransport, transport};
