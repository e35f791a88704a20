//! Server-Sent Events: a client that resumes where it stopped, a server whose sessions cost no
//! task, and an exact wire between them.
//!
//! A server is one async function per subscriber:
//!
//! ```no_run
//! # #[cfg(feature = "axum")] {
//! use axum::Router;
//! use tidings::Event;
//! use tidings::axum::{RouterExt, serve};
//! use tidings::server::Session;
//!
//! # async fn run() -> std::io::Result<()> {
//! let app = Router::new().sse("/events", async |session: Session| {
//!     session.send(Event::new("hello").id(1)).await?;
//!     Ok(())
//! });
//! serve(tokio::net::TcpListener::bind("127.0.0.1:8080").await?, app).await
//! # }
//! # }
//! ```
//!
//! and a client a loop:
//!
//! ```no_run
//! # #[cfg(feature = "client")] {
//! use tidings::Reconnect;
//!
//! # async fn run() -> Result<(), tidings::client::Error> {
//! let client = tidings::client().reconnect(Reconnect::standard());
//! let mut session = client.get("http://127.0.0.1:8080/events").open().await?;
//! while let Some(event) = session.try_next().await? {
//!     println!("{}: {}", event.event_type(), event.text());
//! }
//! # Ok(())
//! # }
//! # }
//! ```
//!
//! [`mod@client`] teaches all of the client. Each crate of the workspace is a module here; the
//! words that both ends use stand at the root.
//!
//! # Features
//! All but `reqwest` and `http2`, and `server` alone, are on by default.
//! * `client`: [`client()`] and the modules `client` and `hyper`.
//! * `reqwest`: the modules `client` and `reqwest`: HTTP/2, TLS, proxies, cookies, and the
//!   `reqwest::Client` that is already there.
//! * `tls`: the client speaks `https`, and trusts whom the platform trusts.
//! * `compression`: the client reads what is compressed by gzip, br or zstd; sessions may be sent so.
//! * `server`: the module `server`, for any server of `http` types.
//! * `axum`: the module `axum`: routes, and a server to run them. Implies `server`.
//! * `http2`: the server of `axum` also speaks HTTP/2, where asked.
//! * `hub`: the module `hub`: channels whose every subscriber hears every event in order, or is told what
//!   it lost.
//! * `json`: events to and from JSON. Implies `serde`.
//! * `serde`: events, IDs, names and positions implement `Serialize` and `Deserialize`.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    not(feature = "client"),
    allow(
        rustdoc::broken_intra_doc_links,
        reason = "they name what `client` adds"
    )
)]

#[cfg(feature = "axum")]
pub use tidings_axum as axum;
#[cfg(any(feature = "client", feature = "reqwest"))]
pub use tidings_client as client;
#[cfg(feature = "hub")]
pub use tidings_hub as hub;
#[cfg(feature = "client")]
pub use tidings_hyper as hyper;
pub use tidings_proto as proto;
#[cfg(feature = "reqwest")]
pub use tidings_reqwest as reqwest;
#[cfg(feature = "server")]
pub use tidings_server as server;

#[cfg(feature = "client")]
pub use tidings_hyper::client;
pub use tidings_proto::{EncodedEvents, Event, EventId, EventName, Heartbeat, Reconnect};

/// Compiles and runs what the README shows.
#[cfg(all(doctest, feature = "axum", feature = "client"))]
#[doc = include_str!("../README.md")]
struct Readme;
