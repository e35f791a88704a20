//! `Gap`, a reported loss of events, and the event that reports it.

#[cfg(feature = "json")]
use crate::{Event, EventId, EventName};

/// Why events are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum GapReason {
    /// The log is not the one that issued the ID, or its entries are no longer the same.
    Epoch,
    /// The ID is after the end of the log.
    Future,
    /// Retention has removed events after the ID.
    Trimmed,
    /// The ID is not a position.
    UnknownId,
    /// The reader was too slow, and its buffer was full.
    Slow,
}

/// A loss of events: the subscriber has not received them and will not receive them.
///
/// On the wire a gap is an event named `gap`. It comes before the events that follow the loss. Its ID is
/// the position after which the stream continues, and its data is the gap as JSON:
/// `{"requested":…,"resumed":…,"reason":…,"missed":…}`.
///
/// ```
/// # #[cfg(feature = "json")]
/// # fn main() -> Result<(), tidings_proto::InvalidEventId> {
/// use tidings_proto::{Gap, GapReason};
///
/// let gap = Gap {
///     requested: Some("k3Zq9.17.AbC4".into()),
///     resumed: "k3Zq9.1041.x_7A".into(),
///     reason: GapReason::Trimmed,
///     missed: Some(1024),
/// };
/// let event = gap.to_event()?;
/// assert_eq!(event.event_type(), "gap");
/// assert_eq!(Gap::from_event(&event), Some(gap));
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "json"))]
/// # fn main() {}
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[allow(
    clippy::exhaustive_structs,
    reason = "the wire form has these four parts"
)]
pub struct Gap {
    /// The position that the client sent, with the reason [`Trimmed`](GapReason::Trimmed). A gap repeats no
    /// other text of a client: in a compressed stream, the length of the gap would reveal whether another
    /// event contains the same text. `None` too if the loss happened during a connection.
    pub requested: Option<String>,
    /// The ID after which the stream continues.
    pub resumed: String,
    /// The cause of the loss.
    pub reason: GapReason,
    /// The number of positions between the last received ID and `resumed`: an upper bound for the lost
    /// events. `None` if it is not known, for example between two epochs.
    pub missed: Option<u64>,
}

impl Gap {
    /// The name of an event that reports a gap: `gap`.
    pub const EVENT_NAME: &str = "gap";

    /// The event that reports this gap.
    ///
    /// # Errors
    /// [`InvalidEventId`](crate::InvalidEventId) if `resumed` is not an event ID.
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

    /// The gap that this event reports. `None` for any other event.
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
    fn a_gap_survives_the_way_to_an_event_and_back() {
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
    fn any_other_event_is_not_a_gap() {
        assert_eq!(Gap::from_event(&Event::new("{}")), None);
        let named = Event::new("not json").event(EventName::from_static("gap"));
        assert_eq!(Gap::from_event(&named), None);
    }
}
