//! `ChannelState`: what the hub's log holds of a channel, and how many subscribers it has.

use tidings_proto::Position;

use crate::{ChannelName, StoredChannel};

/// The state of a channel, as [`Channel::state`](crate::Channel::state) and
/// [`Hub::channels`](crate::Hub::channels) return it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelState {
    /// The name of the channel.
    pub name: ChannelName,
    /// Whether the channel is known to the log, and whether it has ended.
    pub status: ChannelStatus,
    /// The position of its newest event; `None` if the log holds none of its events.
    pub newest: Option<Position>,
    /// How many subscriptions to exactly this channel are open on this hub. Other hubs over the same log
    /// have their own.
    pub subscribers: usize,
}

/// Whether a channel is known to the log, and whether it has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(
    clippy::exhaustive_enums,
    reason = "a channel has ended, or may grow, or nothing is known of it"
)]
pub enum ChannelStatus {
    /// The log holds no entry of the channel and remembers no end of it. The channel may never have had an
    /// entry, or the [`Retention`](crate::Retention) has removed them all.
    Unknown,
    /// The log holds events of the channel, and more may follow.
    Open,
    /// The channel has [ended](crate::Channel::end), also if the retention has removed its entries, until the
    /// log forgets the end.
    Ended,
}

impl ChannelState {
    pub(crate) fn of(stored: StoredChannel, subscribers: usize) -> Self {
        Self {
            name: stored.name,
            status: match stored.end {
                Some(_) => ChannelStatus::Ended,
                None => ChannelStatus::Open,
            },
            newest: stored.newest,
            subscribers,
        }
    }

    pub(crate) fn unknown(name: ChannelName, subscribers: usize) -> Self {
        Self {
            name,
            status: ChannelStatus::Unknown,
            newest: None,
            subscribers,
        }
    }
}
