//! Server-Sent Events: a client that resumes where it stopped, a server whose sessions cost no task, and a
//! hub that publishes to many subscribers.
//!
//! ```sh
//! cargo add tidings axum
//! cargo add tokio --features macros,rt-multi-thread
//! ```
//!
//! A server is one async function per subscriber:
//!
//! ```no_run
//! # #[cfg(not(feature = "axum"))]
//! # fn main() {}
//! # #[cfg(feature = "axum")]
//! # mod example {
//! use std::time::Duration;
//!
//! use axum::Router;
//! use tidings::axum::{Event, RouterExt, Session, serve, shutdown_signal};
//!
//! #[tokio::main]
//! # pub
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
//! # }
//! # #[cfg(feature = "axum")]
//! # use example::main;
//! ```
//!
//! A client is a loop:
//!
//! ```no_run
//! # #[cfg(not(feature = "client"))]
//! # fn main() {}
//! # #[cfg(feature = "client")]
//! # mod example {
//! use tidings::Reconnect;
//!
//! #[tokio::main]
//! # pub
//! async fn main() -> Result<(), tidings::client::Error> {
//!     let client = tidings::client().reconnect(Reconnect::standard());
//!     let mut session = client.get("http://127.0.0.1:8080/events").open().await?;
//!     while let Some(event) = session.try_next().await? {
//!         println!("{}: {}", event.event_type(), event.text());
//!     }
//!     Ok(())
//! }
//! # }
//! # #[cfg(feature = "client")]
//! # use example::main;
//! ```
//!
//! Each crate of the workspace is a module here, and its front page teaches it: [`mod@client`],
//! [`mod@server`], [`mod@axum`], [`mod@hub`] and [`mod@store`]. The types that both ends use are also at the
//! root.
//!
//! # Features
//! The last column counts crates, tidings' own included, on Linux: a plain number is for the feature alone,
//! a number with a plus is in addition to the default features. The default features need 83 crates
//! together; without any feature there are 9, for [`proto`].
//!
//! | feature | default | content | crates |
//! | --- | --- | --- | --- |
//! | `client` | yes | [`client()`] and the modules [`mod@client`] and `hyper`: the client over HTTP/1.1 | 40 |
//! | `tls` | yes | `client` opens `https` URLs, and trusts the certificates that the platform trusts; the server of `axum` serves HTTPS, if you set `Serve::tls` | +14 |
//! | `axum` | yes | the module [`mod@axum`]: event streams as routes, and a server to run them; implies `hyper-server` | 55 |
//! | `hub` | yes | the module [`mod@hub`]: publish once, and each subscriber receives every event in order, or a gap that reports the loss | 35 |
//! | `json` | yes | events to and from JSON, and a serde enum as a protocol; implies `serde` | 19 |
//! | `serde` | yes | events, IDs, names and positions implement `Serialize` and `Deserialize` | 16 |
//! | `server` | yes | the module [`mod@server`]: sessions on any server of `http` types | 31 |
//! | `hyper-server` | yes | the module [`mod@hyper_server`]: connections on hyper with little memory for each stream; implies `server` | 36 |
//! | `compression` | no | the client reads gzip, br and zstd; the server sends them to clients that ask | +16 |
//! | `store` | no | the module [`mod@store`]: a hub whose events are in a file on the disk, and survive any crash; builds SQLite, so it needs a C compiler; implies `hub` | 47, +10 |
//! | `http2` | no | the server of `axum` also speaks HTTP/2, if you set `Serve::http2(true)` | +7 |
//! | `reqwest` | no | the modules [`mod@client`] and `reqwest`: the client over reqwest, with HTTP/2, cookies, or your own `reqwest::Client` | 99, +40 |
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    not(all(
        feature = "axum",
        feature = "client",
        feature = "hub",
        feature = "store"
    )),
    allow(
        rustdoc::broken_intra_doc_links,
        reason = "the front page links to modules of features that are off"
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
#[cfg(feature = "hyper-server")]
pub use tidings_hyper_server as hyper_server;
pub use tidings_proto as proto;
#[cfg(feature = "reqwest")]
pub use tidings_reqwest as reqwest;
#[cfg(feature = "server")]
pub use tidings_server as server;
#[cfg(feature = "store")]
pub use tidings_store as store;

#[cfg(feature = "client")]
pub use tidings_hyper::client;
pub use tidings_proto::{EncodedEvents, Event, EventId, EventName, Heartbeat, Reconnect};

/// The README, so that its programs are compiled.
#[cfg(all(doctest, feature = "axum", feature = "client", feature = "hub"))]
#[doc = include_str!("../README.md")]
struct Readme;
