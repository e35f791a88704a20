//! The published events and their channel.

use tidings_proto::Event;

use crate::server::events;

pub const CHANNEL: &str = "x";

/// The nth event.
pub fn event(number: usize) -> Event {
    Event::new(events::data(number))
}
