//! stub
pub(crate) mod block;
mod decoder;
mod encoder;
mod event;
mod event_ref;
mod field;
mod id;
mod last_event_id;
mod line;
mod name;
mod name_cache;
mod splitter;
mod text;

pub use decoder::{Comments, Decoder, EventTooLarge, Events, MAX_EVENT_BYTES};
pub use encoder::EncodedEvents;
pub use event::Event;
pub use event_ref::EventRef;
pub use id::{EventId, InvalidEventId, MAX_ID_BYTES};
pub use name::{EventName, InvalidEventName};
