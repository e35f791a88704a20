//! The direct transport of the tidings client: one HTTP/1.1 connection a session, polled in the
//! session's own task.
//!
//! hyper's connection is usually spawned, and its chunks cross a channel between two tasks. Here
//! the response body polls it, so a session costs no task and an event no wake-up. There is no
//! pool: a stream has its connection to itself anyway.
//!
//! ```no_run
//! # async fn hear() -> Result<(), tidings_client::Error> {
//! let client = tidings_hyper::client();
//! let mut session = client.get("http://localhost:8080/events").open().await?;
//! # Ok(())
//! # }
//! ```
//!
//! [`DirectTransport`] has the settings: proxies, of which it takes those that the environment
//! names, TCP keep-alive, whose certificates are trusted, and streams of bytes other than TCP.
//!
//! # Features
//! Both are on by default.
//! * `tls`: `https`, with rustls and what the platform trusts.
//! * `compression`: asks for gzip, br and zstd, and decodes them as they arrive: an event that the
//!   server flushes is heard at once. A request that sets its own `Accept-Encoding` keeps it;
//!   `identity` turns compression off.
//!
//! A stream in an encoding that cannot be decoded is an error of the network, unless the request
//! asked for encodings itself: it then comes as it is.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod body;
mod coding;
mod connect;
#[cfg(feature = "compression")]
mod decode;
mod exchange;
mod keep_alive;
mod proxy;
mod request;
#[cfg(feature = "tls")]
mod tls;
mod transport;

pub use proxy::InvalidProxy;
pub use request::UnsupportedUrl;
use tidings_client::SseClient;
#[cfg(feature = "tls")]
pub use tls::InvalidCertificate;
pub use transport::DirectTransport;

/// A client over the direct transport.
pub fn client() -> SseClient {
    SseClient::over(DirectTransport::new())
}
