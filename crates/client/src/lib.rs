//! A client of Server-Sent Events, over any transport.
//!
//! It resumes where it stopped, ends with one clear error, and holds bounded memory whatever the
//! server sends. A [`Session`] is a stream without a task: it reads while it is polled.
//!
//! ```no_run
//! use tidings_client::{Error, Reconnect, SseClient, Transport};
//!
//! async fn hear(transport: impl Transport) -> Result<(), Error> {
//!     let client = SseClient::over(transport).reconnect(Reconnect::standard());
//!     let mut session = client.get("http://localhost:8080/events").open().await?;
//!     while let Some(event) = session.try_next().await? {
//!         println!("{}: {}", event.event_type(), event.text());
//!     }
//!     Ok(())
//! }
//! ```
//!
//! Waits run on tokio's timer, so it needs a tokio runtime with time enabled.
//!
//! # Features
//! * `json`: `Session::typed`; `Event::json` on what is heard, and JSON bodies.

mod attempt;
mod buffer;
mod client;
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

pub use attempt::Attempt;
pub use buffer::BufferPolicy;
pub use client::SseClient;
pub use error::{Error, ErrorKind};
pub use lifecycle::{Lifecycle, State};
pub use request::RequestBuilder;
pub use service::RequestBody;
pub use session::Session;
pub use strategy::{Outage, ReconnectionStrategy};
pub use tidings_proto::{Event, EventId, EventName, Gap, GapReason, Reconnect};
#[cfg(feature = "json")]
pub use tidings_proto::{Format, Json, Undecodable};
pub use transport::{
    ConnectError, ConnectTimeout, Connecting, FinalUrl, ResponseBody, Transport, TransportError,
};
#[cfg(feature = "json")]
pub use typed::TypedSession;
pub use url::IntoUrl;
