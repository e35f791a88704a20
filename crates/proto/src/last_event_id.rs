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
    /// In `text`. Most ids belong to one event, and are best copied for it.
    Text,
    /// As `Text`, and an event has it. The next one shares it.
    Copied,
    Shared(EventId),
}

impl LastEventId {
    #[inline]
    pub(crate) fn get(&self) -> Option<&str> {
        match &self.place {
            Place::Nowhere => None,
            Place::Text | Place::Copied => Some(&self.text),
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

    /// The id as an event owns it.
    // Always: what is returned through memory and moved at once makes the processor wait.
    #[inline(always)]
    pub(crate) fn owned(&mut self) -> Option<EventId> {
        match &self.place {
            Place::Nowhere => None,
            Place::Text => {
                self.place = Place::Copied;
                Some(EventId::from_checked(&self.text))
            }
            Place::Copied => {
                let id = EventId::from_checked(&self.text);
                self.share(id.clone());
                Some(id)
            }
            Place::Shared(id) => Some(id.clone()),
        }
    }

    fn share(&mut self, id: EventId) {
        self.text.clear();
        self.text.shrink_to(RETAINED);
        self.place = Place::Shared(id);
    }
}
