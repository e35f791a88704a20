//! The direct transport of the tidings client: one HTTP/1.1 connection per session, polled in the
//! session's own task.
//!
//! Most clients spawn hyper's connection, and each chunk crosses a channel between two tasks. Here
//! the session reads its own connection, so it needs no task, and an event needs no wake-up of another one.
//! hyper sends the request and reads the head of the response; the session reads the body without hyper.
//! There is no pool: each stream needs a connection of its own anyway.
//!
//! ```no_run
//! # async fn read() -> Result<(), tidings_hyper::Error> {
//! let client = tidings_hyper::client();
//! let mut session = client.get("http://localhost:8080/events").open().await?;
//! while let Some(event) = session.try_next().await? {
//!     println!("{}: {}", event.event_type(), event.text());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [`DirectTransport`] has the settings: proxies (by default those of the environment), TCP
//! keep-alive, trusted certificates, and streams of bytes other than TCP.
//!
//! # Features
//! Both are on by default.
//! * `tls`: `https` URLs, with rustls and the platform's root certificates.
//! * `compression`: accepts gzip, br and zstd, and decodes them as they arrive: an event that the
//!   server flushes is delivered at once. A request that sets its own `Accept-Encoding` keeps it;
//!   `identity` turns compression off.
//!
//! A body may be in two codings, one over the other. A stream in another content coding is an
//! [error that names it](tidings_client::ErrorKind::ContentEncoding), unless the request sets its own
//! `Accept-Encoding`: the body is then read unchanged. So is the body of a refusal. A name that is no
//! registered coding, such as `utf-8`, is ignored.
//!
//! # Heads
//! A request has a `User-Agent`, `tidings/<version>`, unless you
//! [set another](SseClient::user_agent). A proxy that is asked for a tunnel receives the same one.
//!
//! A response may have the oddities that browsers accept: a space before a header's colon, folded
//! lines, bare line feeds, no reason, no length. A line that is no header, or a header with a control
//! character, is ignored. The head has at most 256 KiB and 512 lines; a larger one is a failed
//! attempt. So is, unlike in browsers, one with a `Content-Length` that is no number, or with a
//! `Transfer-Encoding` over HTTP/1.0.
//!
//! # Bodies
//! A body ends after its `Content-Length`, with its last chunk, or when the server closes, as
//! [RFC 9112](https://www.rfc-editor.org/rfc/rfc9112#section-6.3) defines. All chunks that have arrived are read
//! together, up to 128 KiB, except that those of a body with a `Content-Encoding` are read one by one, so
//! that an error in one does not take the events before it. Extensions of chunks are skipped, up to 16 KiB
//! a chunk, and so are trailers, up to 256 KiB. A line between chunks may end with a bare line feed, as in
//! browsers. A body that is malformed or too short is a lost connection, after the events before that
//! place.
//!
//! A server may answer before it has read the whole request. The rest of the request is sent while the
//! session is read, until the answer ends. Then the connection is closed, even if the request is incomplete.
//!
//! A session that waits for an event holds no read buffer. All sessions of a thread share one, of 128 KiB.
//!
//! # Errors
//! An error names the step that failed, the host and the port: the lookup, the TCP connection, the
//! proxy, the certificate, the TLS handshake or the timeout. The [`ConnectFailure`] among its sources has
//! the step as a value. The error never contains the path, the query, the user or the password of a URL.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod body;
mod coding;
mod connect;
mod connect_failure;
#[cfg(feature = "compression")]
mod decode;
mod exchange;
mod framing;
mod gate;
mod head_scanner;
mod keep_alive;
mod lookup;
mod proxy;
mod read_buffer;
mod request;
#[cfg(feature = "tls")]
mod tls;
mod transport;
mod upload;

pub use connect_failure::{ConnectFailure, ConnectFailureKind};
pub use proxy::InvalidProxy;
pub use request::UnsupportedUrl;
#[doc(no_inline)]
pub use tidings_client::{
    Error, ErrorKind, Event, Reconnect, RequestBuilder, Session, SseClient, Transport,
};
#[cfg(feature = "tls")]
pub use tls::{InvalidCertificate, UnsupportedTlsConfig};
pub use transport::{DirectStream, DirectTransport};

/// A client over [`DirectTransport::new`]: with the proxies of the environment.
///
/// ```no_run
/// # async fn read() -> Result<(), tidings_hyper::Error> {
/// let mut session = tidings_hyper::client().get("http://localhost:8080/events").open().await?;
/// while let Some(event) = session.try_next().await? {
///     println!("{}", event.text());
/// }
/// # Ok(())
/// # }
/// ```
pub fn client() -> SseClient {
    SseClient::over(DirectTransport::new())
}

/// Compiles the program of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
