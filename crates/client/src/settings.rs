//! Owns `Settings`: what a client sets for its sessions.

use tidings_proto::{Comments, Decoder, MAX_EVENT_BYTES, Reconnect};

/// What a request takes over from its client, and may change.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) reconnect: Reconnect,
    /// Of the jitter; random if unset.
    pub(crate) seed: Option<u64>,
    pub(crate) max_event_bytes: usize,
    pub(crate) show_comment_events: bool,
    pub(crate) show_retry_events: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            reconnect: Reconnect::off(),
            seed: None,
            max_event_bytes: MAX_EVENT_BYTES,
            show_comment_events: false,
            show_retry_events: false,
        }
    }
}

impl Settings {
    pub(crate) fn decoder(&self) -> Decoder {
        let comments = if self.show_comment_events {
            Comments::Show
        } else {
            Comments::Keep
        };
        Decoder::new()
            .max_event_bytes(self.max_event_bytes)
            .comments(comments)
            .show_retry_events(self.show_retry_events)
    }
}
