//! The last event ID of a stream. It is shared once several events carry it.

use crate::EventId;
use crate::block::{RETAINED, Value};

#[derive(Debug, Default)]
pub(crate) struct LastEventId {
    storage: IdStorage,
    text: String,
    /// Counts the IDs that it was set to. See [`version`](Self::version).
    version: u64,
}

/// The storage of the ID. There is only one copy, because an ID may be as large as an event.
#[derive(Debug, Default)]
enum IdStorage {
    /// The stream has sent no ID yet.
    #[default]
    Unset,
    /// The ID is in `text`. Most IDs belong to one event, so the first event gets a copy.
    Text,
    /// The ID is in `text`, and one event has a copy. If another event needs it, it becomes shared.
    Copied,
    /// The ID is shared with events.
    Shared(EventId),
}

impl LastEventId {
    #[inline]
    pub(crate) fn get(&self) -> Option<&str> {
        match &self.storage {
            IdStorage::Unset => None,
            IdStorage::Text | IdStorage::Copied => Some(&self.text),
            IdStorage::Shared(id) => Some(id),
        }
    }

    /// Changes whenever the ID may have changed. An ID may be as large as an event, so whether it is
    /// still the same is asked of this number and not of the text.
    #[inline]
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn set(&mut self, id: &EventId) {
        self.version += 1;
        self.share(id.clone());
    }

    /// Removes the ID.
    pub(crate) fn clear(&mut self) {
        *self = Self {
            version: self.version + 1,
            ..Self::default()
        };
    }

    /// Makes the ID of a finished block the last event ID.
    #[inline]
    pub(crate) fn commit(&mut self, id: &mut Value, text: &str) {
        id.trade(text, &mut self.text);
        self.storage = IdStorage::Text;
        self.version += 1;
    }

    /// The ID for an owned event.
    // Always inlined: saves 2 % of the instructions for an owned event of two lines.
    #[inline(always)]
    pub(crate) fn owned(&mut self) -> Option<EventId> {
        match &self.storage {
            IdStorage::Unset => None,
            IdStorage::Text => {
                self.storage = IdStorage::Copied;
                Some(EventId::from_checked(&self.text))
            }
            IdStorage::Copied => {
                let id = EventId::from_checked(&self.text);
                self.share(id.clone());
                Some(id)
            }
            IdStorage::Shared(id) => Some(id.clone()),
        }
    }

    fn share(&mut self, id: EventId) {
        self.text.clear();
        self.text.shrink_to(RETAINED);
        self.storage = IdStorage::Shared(id);
    }
}
