//! `Ending`: the event at which a session ends, by `until`.

use std::sync::Arc;

use tidings_proto::Event;

/// Whether an event is the last of its session.
pub(crate) type Until = Arc<dyn Fn(&Event) -> bool + Send + Sync>;

#[derive(Clone)]
pub(crate) struct Ending {
    pub(crate) is_last: Until,
    /// Whether the session delivers the last event.
    pub(crate) is_delivered: bool,
}
