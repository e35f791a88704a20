//! Owns the last event ID of a stream: text until somebody wants to own it, then shared.

use crate::EventId;
use crate::block::{RETAINED, Value};

#[derive(Debug, Default)]
pub(crate) struct LastEventId {
    place: Place,
    text: String,
}

/// Where the id is: in one place only, as it may be as large as an event.
#[derive(Debug, Default)]
enum Place {
    /// No id was heard yet.
    #[default]
    Nowhere,
    Text,
    /// Until it changes: events in a row have the same id more often than not.
    Shared(EventId),
}

impl LastEventId {
    #[inline]
    pub(crate) fn get(&self) -> Option<&str> {
        match &self.place {
            Place::Nowhere => None,
            Place::Text => Some(&self.text),
            Place::Shared(id) => Some(id),
        }
    }

    pub(crate) fn set(&mut self, id: &EventId) {
        self.share(id.clone());
    }

    /// Makes the id of a finished block the last one.
    #[inline]
    pub(crate) fn commit(&mut self, id: &mut Value, text: &str) {
        id.trade(text, &mut self.text);
        self.place = Place::Text;
    }

    #[inline]
    pub(crate) fn shared(&mut self) -> Option<EventId> {
        if let Place::Text = self.place {
            self.share(EventId::from_checked(&self.text));
        }
        match &self.place {
            Place::Shared(id) => Some(id.clone()),
            _ => None,
        }
    }

    #[cold]
    fn share(&mut self, id: EventId) {
        self.text.clear();
        self.text.shrink_to(RETAINED);
        self.place = Place::Shared(id);
    }
}
