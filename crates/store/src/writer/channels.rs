//! `Channels`: what the writer knows of the channels that recent appends were to.

use std::collections::HashMap;
use std::mem;

use tidings_hub::ChannelName;

use crate::channel_row::{ChannelId, ChannelRow};

/// About how many channels are kept in memory. Others are read from the disk.
const LIMIT: usize = 131_072;

/// What an append must know of its channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ChannelState {
    pub(super) id: ChannelId,
    pub(super) known_since: u64,
    pub(super) end: Option<u64>,
    /// The number of its newest entry, held or removed.
    pub(super) newest: u64,
    /// How many events it has had.
    pub(super) events: u64,
}

impl ChannelState {
    pub(super) fn row(&self, name: ChannelName) -> ChannelRow {
        ChannelRow {
            id: self.id,
            name,
            known_since: self.known_since,
            end: self.end,
        }
    }
}

/// A cache of two generations: when the younger one is full, the older one is dropped.
#[derive(Debug, Default)]
pub(super) struct Channels {
    young: HashMap<ChannelName, ChannelState>,
    old: HashMap<ChannelName, ChannelState>,
}

impl Channels {
    pub(super) fn get(&mut self, name: &ChannelName) -> Option<ChannelState> {
        if let Some(state) = self.young.get(name) {
            return Some(*state);
        }
        let (name, state) = self.old.remove_entry(name)?;
        self.set(name, state);
        Some(state)
    }

    pub(super) fn set(&mut self, name: ChannelName, state: ChannelState) {
        if self.young.len() >= LIMIT / 2 && !self.young.contains_key(&name) {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(name, state);
    }

    pub(super) fn forget(&mut self, name: &ChannelName) {
        self.young.remove(name);
        self.old.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recently_used_channels_stay_and_the_number_of_others_is_limited() {
        let mut channels = Channels::default();
        let name = |n: usize| ChannelName::new(format!("c/{n}")).unwrap();
        let state = |newest| ChannelState {
            id: 1,
            known_since: 0,
            end: None,
            newest,
            events: 1,
        };
        for n in 0..2 * LIMIT {
            channels.set(name(n), state(n as u64));
            assert_eq!(channels.get(&name(0)).unwrap().newest, 0);
        }
        assert!(channels.young.len() + channels.old.len() <= LIMIT);
        assert_eq!(channels.get(&name(1)), None);
        let last = 2 * LIMIT - 1;
        channels.set(name(last), state(7));
        assert_eq!(channels.get(&name(last)).unwrap().newest, 7);
        channels.forget(&name(last));
        assert_eq!(channels.get(&name(last)), None);
    }
}
