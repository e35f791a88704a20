//! Owns `Gap`: a loss that is told, and the event that tells it.

#[cfg(feature = "json")]
use crate::{Event, EventId, EventName};

/// Why events are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum GapReason {
    /// The log is not the one that handed the id out, or no longer holds what it held.
    Epoch,
    /// The id lies past the end of the log.
    Future,
    /// Retention has removed what follows the id.
    Trimmed,
    /// The id is not a position.
    UnknownId,
    /// The reader was slower than its buffer is long.
    Slow,
}

/// Events that a subscriber has not heard and will not hear.
///
/// On the wire it is an event named `gap`, heard before anything else, whose id is where the
/// stream goes on and whose data is this as JSON:
/// `{"requested":…,"resumed":…,"reason":…,"missed":…}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[allow(
    clippy::exhaustive_structs,
    reason = "the wire form has these four parts"
)]
pub struct Gap {
    /// The id that was asked for; `None` if the loss came while connected.
    pub requested: Option<String>,
    /// The id after which the stream goes on.
    pub resumed: String,
    /// Why.
    pub reason: GapReason,
    /// How many positions lie between, an upper bound for the events missed; `None` if nobody can
    /// know, as over an epoch.
    pub missed: Option<u64>,
}

impl Gap {
    /// The name of the event that tells a gap.
    pub const EVENT_NAME: &str = "gap";

    /// The event that tells this gap.
    ///
    /// # Errors
    /// [`InvalidEventId`](crate::InvalidEventId) if `resumed` is no id.
    #[cfg(feature = "json")]
    pub fn to_event(&self) -> Result<Event, crate::InvalidEventId> {
        let id = EventId::new(&self.resumed)?;
        let Ok(data) = serde_json::to_string(self) else {
            unreachable!("strings, a number and an enum of strings always serialize")
        };
        Ok(Event::new(data)
            .event(EventName::from_static(Self::EVENT_NAME))
            .id(id))
    }

    /// The gap that this event tells; `None` if it tells none.
    #[cfg(feature = "json")]
    #[must_use]
    pub fn from_event(event: &Event) -> Option<Self> {
        (event.event_type() == Self::EVENT_NAME)
            .then(|| serde_json::from_str(event.text()).ok())
            .flatten()
    }
}

#[cfg(all(test, feature = "json"))]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_an_event_and_back() {
        let gap = Gap {
            requested: Some("not\na \"position\"".into()),
            resumed: "a.7.AAAA".into(),
            reason: GapReason::UnknownId,
            missed: None,
        };
        let event = gap.to_event().unwrap();
        assert_eq!(
            event.to_string(),
            "event: gap\nid: a.7.AAAA\ndata: {\"requested\":\"not\\na \\\"position\\\"\",\
             \"resumed\":\"a.7.AAAA\",\"reason\":\"unknown-id\",\"missed\":null}\n\n"
        );
        assert_eq!(Gap::from_event(&event), Some(gap));
    }

    #[test]
    fn another_event_is_no_gap() {
        assert_eq!(Gap::from_event(&Event::new("{}")), None);
        let named = Event::new("not json").event(EventName::from_static("gap"));
        assert_eq!(Gap::from_event(&named), None);
    }
}
