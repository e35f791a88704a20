//! The Server-Sent Events wire format and its state machines, without I/O.
//!
//! Most programs want [`tidings`](https://docs.rs/tidings), which has a client, a server and a hub.
//! This crate is for a program that has a transport of its own. It never reads a socket, a clock or
//! a random number: you pass in bytes and the time, and receive events, bytes and decisions. It
//! compiles for `wasm32-unknown-unknown`.
//!
//! Decode a stream:
//!
//! ```
//! use tidings_proto::Decoder;
//!
//! let mut decoder = Decoder::new();
//! let mut received = Vec::new();
//! // The chunks may be cut anywhere, as a socket cuts them.
//! for chunk in ["id: 1\nevent: pri", "ce\ndata: 42\n", "\n"] {
//!     for event in decoder.decode(chunk.as_bytes()) {
//!         received.push(event?);
//!     }
//! }
//! assert_eq!(received.len(), 1);
//! assert_eq!((received[0].event_type(), received[0].text()), ("price", "42"));
//! # Ok::<(), tidings_proto::EventTooLarge>(())
//! ```
//!
//! Encode an event:
//!
//! ```
//! use tidings_proto::{Event, EventName};
//!
//! const PRICE: EventName = EventName::from_static("price");
//!
//! let encoded = Event::new("42").event(PRICE).id(1).encode();
//! assert_eq!(encoded.bytes(), "event: price\nid: 1\ndata: 42\n\n");
//! ```
//!
//! The main types:
//!
//! * [`Event`] is an event to send or a received one, and [`EncodedEvents`] is its wire bytes.
//! * [`Decoder`] decodes the bytes of a stream into events.
//! * [`EventSourceState`] decides the next step of a client: connect, wait, resume or stop.
//!   [`Reconnect`] is its policy.
//! * [`SessionState`] decides the next frame of a server's session, with its [`Heartbeat`].
//! * [`Position`] and [`Gap`] describe positions in a log and losses of events, for a hub.
//!   [`Feed`] connects a hub to a server.
//!
//! # Features
//! None is on by default.
//! * `serde`: [`Event`], [`EventId`], [`EventName`], [`Position`] and [`Gap`] implement `Serialize` and
//!   `Deserialize`.
//! * `json`: [`Event::from_json`] and [`Event::json`], typed events by [`Event::from_typed`] and
//!   [`Event::typed`], and [`Gap::to_event`] and [`Gap::from_event`]. Implies `serde`.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    not(feature = "json"),
    allow(
        rustdoc::broken_intra_doc_links,
        reason = "they name items of the feature `json`"
    )
)]

mod block;
mod content_coding;
mod cursor;
mod decoder;
mod dedupe;
mod encoder;
mod event;
mod event_ref;
mod event_source_action;
mod event_source_state;
mod event_too_large;
mod events;
mod feed;
mod field;
mod gap;
pub mod headers;
mod heartbeat;
mod held_line;
mod id;
mod incoming;
mod instant;
mod jitter;
#[cfg(feature = "json")]
mod json;
mod last_event_id;
mod line;
mod media_type;
mod name;
mod name_cache;
mod position;
mod reader;
mod reconnect;
mod response_head;
mod session_state;
mod splitter;
mod text;
mod text_traits;
#[cfg(feature = "json")]
mod typed;
mod utf8;

pub use decoder::Decoder;
pub use encoder::EncodedEvents;
pub use event::Event;
pub use event_ref::EventRef;
pub use event_source_action::{EventSourceAction, EventSourceFailure};
pub use event_source_state::{EventSourceState, MAX_REDIRECTS, is_temporary_status};
pub use event_too_large::EventTooLarge;
pub use events::Events;
pub use feed::{Feed, FeedError, FeedErrorKind, FeedOpened};
pub use gap::{Gap, GapReason};
pub use heartbeat::{Heartbeat, HeartbeatEvent};
pub use id::{EventId, IntoEventId, InvalidEventId, MAX_ID_BYTES};
pub use media_type::{InvalidMediaType, StreamTypes};
pub use name::{EventName, IntoEventName, InvalidEventName};
pub use position::{EntryCheck, Epoch, InvalidPosition, MAX_EPOCH_BYTES, Position};
pub use reader::{Comments, MAX_EVENT_BYTES, MAX_KEPT_COMMENT_BYTES};
pub use reconnect::{
    MAX_RECONNECTION_DELAY, RECONNECTION_CEILING, RECONNECTION_FLOOR, RECONNECTION_TIME, Reconnect,
    parse_retry_after,
};
pub use response_head::ResponseHead;
pub use session_state::{MAX_QUEUED_BYTES, SessionFrame, SessionState};
#[cfg(feature = "serde")]
#[doc(hidden)]
pub use text_traits::TextVisitor;
#[cfg(feature = "json")]
pub use typed::{Format, Json, Undecodable};

/// Compiles and runs the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
