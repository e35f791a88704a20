//! The parts of event IDs.

use tidings_proto::{Event, Position};

use super::Failed;

/// The position in an event ID, and the channel that follows it, if there is one.
pub(super) fn parts(id: &str) -> Option<(Position, Option<&str>)> {
    let third = id.match_indices('.').nth(2);
    let (position, channel) = match third {
        Some((at, _)) => (&id[..at], Some(&id[at + 1..])),
        None => (id, None),
    };
    Some((position.parse().ok()?, channel))
}

/// The position in the ID of an event, and the channel that follows it, if there is one.
pub(super) fn of(event: &Event) -> Result<(Position, Option<&str>), Failed> {
    let id = event.id.as_ref();
    let id = id.ok_or_else(|| Failed::new("it has no ID"))?;
    parts(id.as_str()).ok_or_else(|| Failed::new("its ID is not a position"))
}

/// The position in the ID of an event that is of no channel.
pub(super) fn bare_position(event: &Event) -> Result<Position, Failed> {
    match of(event)? {
        (position, None) => Ok(position),
        (_, Some(channel)) => Err(Failed::new(format!("its ID names the channel {channel}"))),
    }
}
