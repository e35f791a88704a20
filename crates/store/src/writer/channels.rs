//! `Channels`: what the writer knows of the channels that recent appends were to.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::mem;

use tidings_hub::ChannelName;

use crate::channel_row::{ChannelId, ChannelRow};

/// How many parts the cache has, one for each first byte of a hash. Only one part at a time grows or is
/// dropped, so no append waits for all.
const SHARDS: usize = 256;

/// About how many channels a part keeps at least, and at most. Others are read from the disk.
const LEAST: usize = 256;
const MOST: usize = 3 * LEAST;

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

/// A cache of the channels that were used last: of all of them, if there are fewer than 100,000.
#[derive(Debug)]
pub(super) struct Channels {
    shards: Vec<Shard>,
    hasher: RandomState,
}

/// Two generations. The older one is dropped when the channels that were used since are enough.
#[derive(Debug, Default)]
struct Shard {
    young: HashMap<ChannelName, ChannelState>,
    old: HashMap<ChannelName, ChannelState>,
}

impl Default for Channels {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            hasher: RandomState::new(),
        }
    }
}

impl Channels {
    pub(super) fn get(&mut self, name: &ChannelName) -> Option<ChannelState> {
        self.shard(name).get(name)
    }

    pub(super) fn set(&mut self, name: ChannelName, state: ChannelState) {
        self.shard(&name).set(name, state);
    }

    pub(super) fn forget(&mut self, name: &ChannelName) {
        let shard = self.shard(name);
        shard.young.remove(name);
        shard.old.remove(name);
    }

    fn shard(&mut self, name: &ChannelName) -> &mut Shard {
        let [shard, ..] = self.hasher.hash_one(name).to_le_bytes();
        &mut self.shards[usize::from(shard)]
    }
}

impl Shard {
    fn get(&mut self, name: &ChannelName) -> Option<ChannelState> {
        if let Some(state) = self.young.get(name) {
            return Some(*state);
        }
        let (name, state) = self.old.remove_entry(name)?;
        self.set(name, state);
        Some(state)
    }

    fn set(&mut self, name: ChannelName, state: ChannelState) {
        if let Some(known) = self.young.get_mut(&name) {
            *known = state;
            return;
        }
        let used = self.young.len();
        if used >= LEAST && used + self.old.len() >= MOST - LEAST {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(name, state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(n: usize) -> ChannelName {
        ChannelName::new(format!("c/{n}")).unwrap()
    }

    fn state(newest: usize) -> ChannelState {
        ChannelState {
            id: 1,
            known_since: 0,
            end: None,
            newest: newest as u64,
            events: 1,
        }
    }

    #[test]
    fn recently_used_channels_stay_and_the_number_of_others_is_limited() {
        let mut channels = Channels::default();
        let count = 2 * MOST * SHARDS;
        for n in 0..count {
            channels.set(name(n), state(n));
            assert_eq!(channels.get(&name(0)).unwrap().newest, 0);
        }
        for shard in &channels.shards {
            assert!(shard.young.len() + shard.old.len() <= MOST);
        }
        assert_eq!(channels.get(&name(1)), None);
        let last = count - 1;
        channels.set(name(last), state(7));
        assert_eq!(channels.get(&name(last)).unwrap().newest, 7);
        channels.forget(&name(last));
        assert_eq!(channels.get(&name(last)), None);
    }

    #[test]
    fn a_hundred_thousand_channels_that_take_turns_all_stay() {
        let mut channels = Channels::default();
        for round in 0..3 {
            for n in 0..100_000 {
                assert_eq!(channels.get(&name(n)).is_some(), round > 0, "{round} {n}");
                channels.set(name(n), state(n));
            }
        }
    }
}
