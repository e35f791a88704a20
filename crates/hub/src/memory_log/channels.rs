//! What a log in memory knows of its channels.

use std::convert::Infallible;

use super::held::Held;
use super::index::ChannelId;
use crate::ChannelName;
use crate::engine::{Channels, Removed};

impl Channels for Held {
    type Channel = ChannelId;
    type Error = Infallible;

    fn floor(&self) -> u64 {
        self.floor()
    }

    fn removed(&self) -> Removed {
        self.index.removed()
    }

    fn forgotten_through(&self) -> u64 {
        self.index.forgotten_through()
    }

    fn find(&self, name: &ChannelName) -> Result<Option<ChannelId>, Infallible> {
        Ok(self.index.find(name))
    }

    fn below(&self, name: &str, max: usize) -> Result<Vec<ChannelId>, Infallible> {
        Ok(self.index.below(name).take(max).collect())
    }

    fn known_since(&self, &channel: &ChannelId) -> u64 {
        self.index.record(channel).known_since
    }

    fn removed_of(&self, &channel: &ChannelId) -> Result<Removed, Infallible> {
        Ok(self.index.record(channel).removed)
    }

    fn events_of(&self, &channel: &ChannelId, after: u64, to: u64) -> Result<u64, Infallible> {
        Ok(self.index.record(channel).events_between(after, to))
    }

    fn ends_between(&self, after: u64, to: u64) -> Result<u64, Infallible> {
        Ok(self.index.ends_between(after, to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Selection;
    use crate::{Pattern, Retention};

    #[test]
    fn the_channels_below_a_name_are_found_up_to_a_limit() {
        let mut held = Held::new(Retention::in_memory());
        let names = ["a", "a-b", "a/b", "a/c/d", "a0", "b"];
        for name in names {
            held.index.create(ChannelName::new(name).unwrap());
        }
        let patterns = ["a/*", "b", "none", "none/*"].map(|text| Pattern::new(text).unwrap());
        let selection = Selection::new(&patterns);
        let Ok(found) = selection.channels(&held, 2);
        let found = found.unwrap().into_iter();
        let found: Vec<_> = found
            .map(|id| held.index.record(id).name.as_str())
            .collect();
        assert_eq!(found, ["a/b", "a/c/d", "b"]);
        let Ok(found) = selection.channels(&held, 1);
        assert!(found.is_none());
        let Ok(found) = Selection::new(&[]).channels(&held, 9);
        assert!(found.is_none());
    }
}
