//! Owns the last event ID of a stream: kept as text, shared only once somebody wants to own it.

use crate::EventId;
use crate::block::Value;

#[derive(Debug, Default)]
pub(crate) struct LastEventId {
    /// Whether any id was heard yet.
    is_set: bool,
    text: String,
    /// `text` as an `EventId`, until it changes: events in a row have the same id more often than
    /// not.
    shared: Option<EventId>,
}

impl LastEventId {
    #[inline]
    pub(crate) fn get(&self) -> Option<&str> {
        self.is_set.then_some(self.text.as_str())
    }

    pub(crate) fn set(&mut self, id: &EventId) {
        self.is_set = true;
        id.as_str().clone_into(&mut self.text);
        self.shared = Some(id.clone());
    }

    /// Makes the id of a finished block the last one.
    #[inline]
    pub(crate) fn commit(&mut self, id: &mut Value, text: &str) {
        id.trade(text, &mut self.text);
        self.is_set = true;
        self.shared = None;
    }

    pub(crate) fn shared(&mut self) -> Option<EventId> {
        if self.is_set && self.shared.is_none() {
            self.shared = Some(EventId::from_checked(&self.text));
        }
        self.shared.clone()
    }
}
