//! `SlowReader`: the policy for subscriptions that do not keep up.

use std::fmt;
use std::sync::Arc;

use tidings_proto::Event;

/// The policy for a subscription that is slower than its channels. Default:
/// [`skip_to_gap`](Self::skip_to_gap).
///
/// A slow subscription costs publishers and other subscribers nothing: the log keeps the events it
/// has not received yet. A subscription is slow only if the log has removed its next event, or if
/// it is further behind than its [`max_lag`](crate::Subscription::max_lag).
#[derive(Clone)]
pub struct SlowReader(pub(crate) Policy);

#[derive(Clone)]
pub(crate) enum Policy {
    SkipToGap,
    Disconnect,
    LatestByKey(Arc<KeyOf>),
}

/// Returns the key of an event. Of two events with the same key, the later one replaces the earlier one.
pub(crate) type KeyOf = dyn Fn(&Event) -> Option<String> + Send + Sync;

impl SlowReader {
    /// Delivers a `gap` event and continues with the oldest event within `max_lag`, or with the
    /// oldest one in the log. The default.
    #[must_use]
    pub fn skip_to_gap() -> Self {
        Self(Policy::SkipToGap)
    }

    /// Ends the stream.
    ///
    /// A client that reconnects with its last event ID receives the events that are still in the
    /// log, after a `gap` if some were removed. `max_lag` does not apply until it has caught up, so
    /// it is not disconnected again at once.
    #[must_use]
    pub fn disconnect() -> Self {
        Self(Policy::Disconnect)
    }

    /// Delivers, of all missed events, the latest one of each key and all without a key. If it
    /// leaves events out, it first delivers a `gap` event.
    ///
    /// Use it for events that replace earlier ones, such as the price of a share. It delivers
    /// at most 65,536 of the missed events, and leaves out the oldest ones beyond that. The hub keeps
    /// their numbers, about 1 byte each, and reads the events again as fast as the subscriber does. If
    /// the log removes some of them meanwhile, another `gap` reports it.
    ///
    /// Without a [`max_lag`](crate::Subscription::max_lag), it acts like
    /// [`skip_to_gap`](Self::skip_to_gap).
    ///
    /// ```
    /// use tidings_hub::{Hub, SlowReader};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let hub = Hub::in_memory();
    /// // The name of an event is the share.
    /// let by_name = SlowReader::latest_by(|event| event.event.as_ref().map(ToString::to_string));
    /// let prices = hub.subscribe("prices").max_lag(1_000).slow_reader(by_name);
    /// # drop(prices);
    /// # }
    /// ```
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
