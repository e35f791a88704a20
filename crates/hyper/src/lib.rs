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
//! * `tls`: `https`, with rustls and what the platform trusts. On by default.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod body;
mod connect;
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
