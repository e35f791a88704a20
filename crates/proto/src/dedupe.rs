//! `Dedupe`: the detection of events that were delivered before, by their positions.

use std::cmp::Ordering;

use crate::{Event, EventId, Gap, Position};

/// Detects the events that a reconnection repeats. Events whose ID is not a [`Position`] always pass.
#[derive(Debug)]
pub(crate) struct Dedupe {
    /// The position of the last event that passed.
    last: Option<Position>,
    /// Whether an event has passed since the connection opened.
    passed: bool,
}

impl Dedupe {
    /// The event with this ID counts as delivered.
    pub(crate) fn after(id: Option<&str>) -> Self {
        Self {
            last: id.and_then(|id| id.parse().ok()),
            passed: false,
        }
    }

    pub(crate) fn handle_open(&mut self) {
        self.passed = false;
    }

    /// Whether this ID is before that of the last event that passed.
    pub(crate) fn is_before_last(&self, id: &EventId) -> bool {
        let position = id.as_str().parse::<Position>();
        position.is_ok_and(|position| self.last.as_ref().is_some_and(|last| position < *last))
    }

    pub(crate) fn is_repeat(&mut self, event: &Event) -> bool {
        let is_gap = event.event_type() == Gap::EVENT_NAME;
        event
            .id
            .as_ref()
            .is_some_and(|id| self.is_repeated_id(id, is_gap))
    }

    /// Whether an event with this ID is a repeat. Otherwise it passes.
    pub(crate) fn is_repeated_id(&mut self, id: &EventId, is_gap: bool) -> bool {
        let Ok(position) = id.as_str().parse::<Position>() else {
            return false;
        };
        let order = self
            .last
            .as_ref()
            .and_then(|last| position.partial_cmp(last));
        let is_repeat = match order {
            // The order starts anew at the position of a gap.
            _ if is_gap => false,
            Some(Ordering::Less) => true,
            // After a new event, the same position means an event without an ID of its own.
            Some(Ordering::Equal) => !self.passed,
            Some(Ordering::Greater) | None => false,
        };
        if !is_repeat {
            self.last = Some(position);
            self.passed = true;
        }
        is_repeat
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: &'static str) -> Event {
        Event::new("x").id(EventId::from_static(id))
    }

    fn check(after: Option<&str>, ids: &[&'static str], passed: &[&'static str]) {
        let mut dedupe = Dedupe::after(after);
        let mut passed_ids = Vec::new();
        for id in ids {
            if *id == "open" {
                dedupe.handle_open();
            } else if !dedupe.is_repeat(&event(id)) {
                passed_ids.push(*id);
            }
        }
        assert_eq!(passed_ids, passed, "{ids:?}");
    }

    #[test]
    fn events_that_a_reconnection_repeats_are_dropped() {
        check(
            None,
            &[
                "e.1.AAAA", "e.2.BBBB", "open", "e.1.AAAA", "e.2.BBBB", "e.3.CCCC",
            ],
            &["e.1.AAAA", "e.2.BBBB", "e.3.CCCC"],
        );
        check(Some("e.2.BBBB"), &["e.2.BBBB", "e.3.CCCC"], &["e.3.CCCC"]);
    }

    #[test]
    fn ids_that_name_their_channel_are_compared_by_position() {
        let ids = [
            "e.1.AAAA.a",
            "e.2.BBBB.b/c",
            "open",
            "e.1.AAAA.a",
            "e.2.BBBB",
            "e.2.BBBB.b/c",
            "e.3.CCCC.a",
        ];
        check(None, &ids, &["e.1.AAAA.a", "e.2.BBBB.b/c", "e.3.CCCC.a"]);
        let ids = ["e.2.BBBB.a", "e.3.CCCC"];
        check(Some("e.2.BBBB"), &ids, &["e.3.CCCC"]);
        let ids = ["e.2.BBBB", "e.3.CCCC.b"];
        check(Some("e.2.BBBB.a"), &ids, &["e.3.CCCC.b"]);
    }

    #[test]
    fn positions_without_an_order_pass() {
        check(None, &["2", "1", "1"], &["2", "1", "1"]);
        check(None, &["e.2.BBBB", "f.1.AAAA"], &["e.2.BBBB", "f.1.AAAA"]);
        check(
            None,
            &["e.2.BBBB", "open", "e.2.CCCC"],
            &["e.2.BBBB", "e.2.CCCC"],
        );
    }

    #[test]
    fn an_event_without_an_id_of_its_own_passes() {
        check(None, &["e.1.AAAA", "e.1.AAAA"], &["e.1.AAAA", "e.1.AAAA"]);
    }

    #[test]
    fn the_order_starts_anew_at_a_gap() {
        let mut dedupe = Dedupe::after(Some("e.9.AAAA"));
        let gap = event("e.3.BBBB").event(crate::EventName::from_static("gap"));
        assert!(!dedupe.is_repeat(&gap));
        assert!(!dedupe.is_repeat(&event("e.4.CCCC")));
        assert!(dedupe.is_repeat(&event("e.2.DDDD")));
    }
}
