//! [reqwest] as a transport of the tidings client, with its HTTP/2, TLS, proxies, cookies,
//! compression and pools.
//!
//! There are three ways to use it. A client that this crate configures for streams:
//!
//! ```no_run
//! use tidings_reqwest::Reconnect;
//!
//! # async fn read() -> Result<(), tidings_reqwest::Error> {
//! let client = tidings_reqwest::client().reconnect(Reconnect::standard());
//! let mut session = client.get("https://example.com/events").open().await?;
//! while let Some(event) = session.try_next().await? {
//!     println!("{}: {}", event.event_type(), event.text());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A `reqwest::Client` of your own:
//!
//! ```no_run
//! use tidings_reqwest::SseClient;
//!
//! # async fn read() -> Result<(), Box<dyn std::error::Error>> {
//! let http = reqwest::Client::builder().user_agent("news/1.0").build()?;
//! let client = SseClient::over(tidings_reqwest::transport(http));
//! let mut session = client.get("https://example.com/events").open().await?;
//! # Ok(())
//! # }
//! ```
//!
//! A request of reqwest, here to a language model that streams its answer:
//!
//! ```no_run
//! use tidings_reqwest::RequestBuilderExt;
//!
//! # async fn read(http: reqwest::Client, key: &str) -> Result<(), tidings_reqwest::Error> {
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
//! # When to use it
//! Use reqwest if many streams share an HTTP/2 connection, if you need cookies, or if you already
//! configure a `reqwest::Client`. `tidings-hyper` costs less: it polls its connection in the
//! session's own task, while reqwest spawns a task for each connection and each chunk crosses a
//! channel.
//!
//! With both, a session that is not polled stops reading: the received bytes fill a buffer or, over
//! HTTP/2, the window of the stream, and then the server waits. A dropped session ends its stream
//! and closes its connection, unless other streams share it.
//!
//! # How a client of your own affects its sessions
//! * **It follows redirects by its own policy.** The session reconnects to the final URL, and then
//!   sends `Authorization`, `Cookie` and headers marked sensitive only to the origin that you
//!   named. During the redirect itself reqwest decides: it sends headers marked sensitive and a
//!   `Referer` to the new origin, and it follows redirects from https to http. With
//!   `redirect(Policy::none())` the session follows redirects, as with [`client()`], and none of
//!   that happens. A request other than GET that may be repeated needs that setting: the session
//!   cannot know whether reqwest continued with GET.
//! * **It sends its default headers to every origin**, and the session does not know them. Set a
//!   token on the request or on the session instead. A default `Accept`, `Cache-Control` or
//!   `Last-Event-ID` is replaced by the session's: set these on the session too.
//! * **It refuses odd response heads that browsers accept**, unless you set
//!   `http1_allow_spaces_after_header_name_in_responses`,
//!   `http1_allow_obsolete_multiline_headers_in_responses`,
//!   `http1_ignore_invalid_headers_in_responses` and a larger `http1_max_headers` (default: 100), as
//!   [`client()`] does.
//! * **Over HTTP/2 it drops headers of the connection**, such as `Connection` and `Upgrade`, as HTTP/2
//!   has none. It sends all other headers as you set them.
//! * **It decodes a content coding only with the feature for it.** A stream in another coding is an
//!   [error that names it](ErrorKind::ContentEncoding).
//! * **Its `timeout` has no effect**, because it limits a whole response and would cut every
//!   stream. The same holds for the timeout of a single request. `read_timeout` has an effect: it
//!   cuts a stream that is silent for longer. `connect_timeout` has an effect too, and
//!   `SseClient::connect_timeout` has none.
//! * **It has its own HTTP/2 windows.** With reqwest's defaults, three sessions that are not read
//!   fill the window of their connection, and the other sessions on it receive nothing more. Set a
//!   smaller `http2_initial_stream_window_size` to avoid that.
//!
//! # Features
//! Each turns on the feature of reqwest with the same name. To use another feature of reqwest, such
//! as `native-tls` or `socks`, turn it on for reqwest itself.
//! * `http2`, on by default.
//! * `rustls`, on by default. Without any TLS feature a request to an https URL fails.
//! * `gzip`, `brotli`, `zstd`: requests accept these encodings, and events are delivered as soon as
//!   the server flushes them.
//! * `cookies`: for clients that you build with a cookie store.

mod client;
mod error;
mod request;
mod transport;
mod unsendable;

pub use client::client;
pub use request::{RequestBuilderExt, StreamedBody};
#[doc(no_inline)]
pub use tidings_client::{
    Error, ErrorKind, Event, Reconnect, RequestBuilder, Session, SseClient, Transport,
};
pub use transport::{ReqwestTransport, transport};

/// Compiles the programs of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
