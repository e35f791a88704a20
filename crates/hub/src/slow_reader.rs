//! Owns `SlowReader`: what becomes of a subscriber that does not keep up.

use std::fmt;
use std::sync::Arc;

use tidings_proto::Event;

/// What becomes of a subscriber that is slower than its channels.
///
/// It costs nobody else anything: a publisher waits for no reader, and what a slow one has not heard yet
/// is kept by the log, not for it. So it is slow only when the log has forgotten what comes next for
/// it, or when it is behind by more than its [`max_lag`](crate::Subscription::max_lag).
#[derive(Clone)]
pub struct SlowReader(pub(crate) Policy);

#[derive(Clone)]
pub(crate) enum Policy {
    SkipToGap,
    Disconnect,
    LatestByKey(Arc<KeyOf>),
}

/// What says which events replace each other.
pub(crate) type KeyOf = dyn Fn(&Event) -> Option<String> + Send + Sync;

impl SlowReader {
    /// It is told the gap and goes on with the oldest event that is left to it. The default.
    #[must_use]
    pub fn skip_to_gap() -> Self {
        Self(Policy::SkipToGap)
    }

    /// Its stream ends. A client that reconnects comes back with its id, and then hears what the log
    /// still has, or the gap; how far it is behind counts again once it has caught up.
    #[must_use]
    pub fn disconnect() -> Self {
        Self(Policy::Disconnect)
    }

    /// Of what it has missed it hears, after the gap, the latest event of each key, and all events
    /// without one: for what replaces what was before, such as the price of each share.
    ///
    /// At most 65,536 events are kept, and 16 MiB, which one alone may exceed; of more, the oldest are
    /// left out. Has no effect without a
    /// [`max_lag`](crate::Subscription::max_lag) but for what the log has forgotten.
    #[must_use]
    pub fn latest_by(key: impl Fn(&Event) -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Policy::LatestByKey(Arc::new(key)))
    }
}

impl Default for SlowReader {
    fn default() -> Self {
        Self::skip_to_gap()
    }
}

impl fmt::Debug for SlowReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Policy::SkipToGap => "SkipToGap",
            Policy::Disconnect => "Disconnect",
            Policy::LatestByKey(_) => "LatestByKey",
        })
    }
}
