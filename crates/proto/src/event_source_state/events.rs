//! The events of an `EventSourceState`: how they are taken, and what they change.

use super::EventSourceState;
use crate::incoming::Incoming;
use crate::{Event, EventSourceFailure, EventTooLarge};

impl EventSourceState {
    /// The next event of the received part of the stream.
    #[inline]
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        if self.reads_plainly {
            return self.poll_any_event();
        }
        self.poll_checked_event()
    }

    /// The next event, if each must be looked at.
    #[inline(never)]
    fn poll_checked_event(&mut self) -> Option<Event> {
        if self.dedupe.is_some() {
            return self.poll_new_event();
        }
        let event = self.poll_any_event();
        self.is_successful |= event.as_ref().is_some_and(is_sign_of_life) || self.has_succeeded();
        self.reads_plainly = self.is_successful;
        event
    }

    /// The next event that was not received before.
    fn poll_new_event(&mut self) -> Option<Event> {
        loop {
            let Some(event) = self.incoming.next(&mut self.decoder) else {
                self.take_over_id();
                return None;
            };
            self.is_successful |= is_success(&event);
            match event {
                Ok(mut event) if event.id.is_none() => {
                    event.id.clone_from(&self.last_event_id);
                    return Some(event);
                }
                Ok(event) => {
                    let dedupe = self.dedupe.as_mut();
                    if !dedupe.is_some_and(|dedupe| dedupe.is_repeat(&event)) {
                        self.last_event_id.clone_from(&event.id);
                        return Some(event);
                    }
                }
                Err(error) => {
                    let id = error.last_event_id();
                    let dedupe = self.dedupe.as_mut();
                    let is_repeat = dedupe
                        .zip(id)
                        .is_some_and(|(dedupe, id)| dedupe.is_repeated_id(id, false));
                    if !is_repeat {
                        self.handle_too_large(error);
                        return None;
                    }
                }
            }
        }
    }

    /// Takes over the ID of a block without data, unless it is before the last event. Called once the
    /// received part is read.
    #[inline(always)]
    fn take_over_id(&mut self) {
        let version = self.decoder.last_event_id_version();
        if version == self.id_version {
            return;
        }
        self.id_version = version;
        // At most as many bytes are compared as arrived, as each ID is compared once.
        if self.last_event_id.as_deref() != self.decoder.last_event_id() {
            self.take_over_new_id();
        }
    }

    #[inline(never)]
    fn take_over_new_id(&mut self) {
        let dedupe = self.dedupe.as_ref();
        if let Some(id) = self.decoder.owned_last_event_id()
            && !dedupe.is_some_and(|dedupe| dedupe.is_before_last(&id))
        {
            self.last_event_id = Some(id);
        }
    }

    #[inline(always)]
    fn poll_any_event(&mut self) -> Option<Event> {
        match self.incoming.next(&mut self.decoder) {
            Some(Ok(event)) => {
                self.last_event_id.clone_from(&event.id);
                Some(event)
            }
            Some(Err(error)) => {
                self.handle_too_large(error);
                None
            }
            None => {
                self.take_over_id();
                None
            }
        }
    }

    #[cold]
    fn handle_too_large(&mut self, error: EventTooLarge) {
        if self.decoder.skips_large_events() {
            self.is_successful = true;
            if let Some(id) = error.last_event_id() {
                self.last_event_id = Some(id.clone());
            }
            self.skipped = Some(error);
        } else {
            self.take_over_id();
            self.incoming = Incoming::default();
            self.fail(EventSourceFailure::EventTooLarge(error));
        }
    }

    /// Whether the connection has sent an event, an ID or a comment, even one that was not taken. A head
    /// alone is no success: an overloaded server, or a page of HTML under the right type, sends one too.
    pub(super) fn has_succeeded(&self) -> bool {
        self.is_successful
            || self.decoder.has_comment()
            || self.decoder.last_event_id_version() != self.id_version_at_open
            || self.incoming.waiting().any(is_success)
    }
}

/// Whether this event makes an attempt successful: any, even one over the limit.
fn is_success(event: &Result<Event, EventTooLarge>) -> bool {
    event.as_ref().map_or(true, is_sign_of_life)
}

/// Whether this event makes an attempt successful. A `retry` that is shown as an event does not.
fn is_sign_of_life(event: &Event) -> bool {
    event.data.is_some() || event.comments.is_some()
}
