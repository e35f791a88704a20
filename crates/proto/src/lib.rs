//! The wire and the state machines of Server-Sent Events, without I/O.
//!
//! Nothing here reads a socket, a clock or a random number: bytes and the time come in as
//! arguments, events, bytes and decisions go out. [`tidings`](https://docs.rs/tidings) is what most
//! users want; this crate is for those who bring their own transport.
//!
//! * [`Event`] is what is sent and heard, [`EncodedEvents`] its bytes, made once.
//! * [`Decoder`] turns the bytes of a stream into events, however they are cut.
//! * [`EventSourceState`] is a client's subscription over all its connections,
//!   [`SessionState`] a server's session.
//! * [`Position`] and [`Gap`] are what a hub and its subscribers say about places in a log.
//!
//! # Features
//! * `json`: [`Event::from_json`], [`Event::json`], typed events by [`Event::from_typed`] and
//!   [`Event::typed`], and gaps read from and written to events.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    not(feature = "json"),
    allow(rustdoc::broken_intra_doc_links, reason = "they name what `json` adds")
)]

mod block;
mod decoder;
mod dedupe;
mod encoder;
mod event;
mod event_ref;
mod event_source_action;
mod event_source_state;
mod events;
mod feed;
mod field;
mod gap;
pub mod headers;
mod heartbeat;
mod id;
mod incoming;
mod instant;
mod jitter;
#[cfg(feature = "json")]
mod json;
mod last_event_id;
mod line;
mod name;
mod name_cache;
mod position;
mod reader;
mod reconnect;
mod response_head;
mod session_state;
mod splitter;
mod text;
#[cfg(feature = "json")]
mod typed;

pub use decoder::Decoder;
pub use encoder::EncodedEvents;
pub use event::Event;
pub use event_ref::EventRef;
pub use event_source_action::{EventSourceAction, EventSourceFailure};
pub use event_source_state::{EventSourceState, MAX_REDIRECTS, is_temporary_status};
pub use events::Events;
pub use feed::{Feed, FeedError, FeedErrorKind, Opened};
pub use gap::{Gap, GapReason};
pub use heartbeat::{Heartbeat, HeartbeatEvent};
pub use id::{EventId, IntoEventId, InvalidEventId, MAX_ID_BYTES};
pub use name::{EventName, IntoEventName, InvalidEventName};
pub use position::{EntryCheck, Epoch, InvalidPosition, MAX_EPOCH_BYTES, Position};
pub use reader::{Comments, EventTooLarge, MAX_EVENT_BYTES, MAX_KEPT_COMMENT_BYTES};
pub use reconnect::{
    MAX_RECONNECTION_DELAY, RECONNECTION_CEILING, RECONNECTION_FLOOR, RECONNECTION_TIME, Reconnect,
    parse_retry_after,
};
pub use response_head::ResponseHead;
pub use session_state::{MAX_QUEUED_BYTES, SessionFrame, SessionState};
#[cfg(feature = "json")]
pub use typed::{Format, Json, Undecodable};
