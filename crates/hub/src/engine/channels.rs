//! `Channels`: what an engine knows of the channels in one state of its log.

use super::Removed;
use crate::ChannelName;

/// What an engine knows of the channels in one state of its log.
pub trait Channels {
    /// A channel that the engine knows.
    type Channel;
    /// Why the engine cannot answer; [`Infallible`](std::convert::Infallible) for a log in memory.
    type Error;

    /// Returns the number of the newest entry that the retention has removed; 0 if there is none.
    fn floor(&self) -> u64;

    /// Returns the removed events of all channels.
    fn removed(&self) -> Removed;

    /// Returns the number of the newest event of all channels that were forgotten. Of a channel that the
    /// engine does not know, nothing is known up to this number, and no later event was removed.
    fn forgotten_through(&self) -> u64;

    /// Finds a channel by its name.
    ///
    /// # Errors
    /// Those of the engine.
    fn find(&self, name: &ChannelName) -> Result<Option<Self::Channel>, Self::Error>;

    /// Finds the channels below this name, in the order of names: the first `max` of them.
    ///
    /// # Errors
    /// Those of the engine.
    fn below(&self, name: &str, max: usize) -> Result<Vec<Self::Channel>, Self::Error>;

    /// Returns the number up to which nothing is known of the events of this channel.
    fn known_since(&self, channel: &Self::Channel) -> u64;

    /// Returns the removed events of this channel, as far as they are known.
    ///
    /// # Errors
    /// Those of the engine.
    fn removed_of(&self, channel: &Self::Channel) -> Result<Removed, Self::Error>;

    /// Returns how many events of this channel the log holds after `after`, up to and including `to`.
    ///
    /// # Errors
    /// Those of the engine.
    fn events_of(&self, channel: &Self::Channel, after: u64, to: u64) -> Result<u64, Self::Error>;

    /// Returns how many ends of channels the log holds after `after`, up to and including `to`.
    ///
    /// # Errors
    /// Those of the engine.
    fn ends_between(&self, after: u64, to: u64) -> Result<u64, Self::Error>;
}
