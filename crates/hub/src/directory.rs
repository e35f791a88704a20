//! The `Directory` of a life: its topics by channel and by pattern.

use std::collections::HashMap;
use std::sync::Arc;

use crate::topic::Topic;
use crate::{ChannelName, Pattern};

/// The topics that have readers, and the channels that have recent events.
#[derive(Debug)]
pub(crate) struct Directory {
    channels: HashMap<ChannelName, Arc<Topic>>,
    /// By the name before `/*`; only those with readers.
    patterns: HashMap<ChannelName, Arc<Topic>>,
    /// The newest entry that is written to the tapes, or is being written. The tape of a new topic holds
    /// all events after it.
    written: u64,
}

impl Directory {
    pub(crate) fn new(written: u64) -> Self {
        Self {
            channels: HashMap::new(),
            patterns: HashMap::new(),
            written,
        }
    }

    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// The topic of a channel. If it is new, its tape holds all events after `since`, and `end` returns
    /// the `seq` of the channel's end.
    pub(crate) fn channel_topic(
        &mut self,
        channel: &ChannelName,
        since: u64,
        end: impl FnOnce() -> Option<u64>,
    ) -> &Arc<Topic> {
        if !self.channels.contains_key(channel) {
            let topic = Topic::new(channel.clone().into(), since, end());
            self.channels.insert(channel.clone(), Arc::new(topic));
        }
        &self.channels[channel]
    }

    /// The topic of a pattern that ends in `/*`.
    pub(crate) fn pattern_topic(&mut self, pattern: &Pattern) -> Arc<Topic> {
        let topic = self
            .patterns
            .entry(ChannelName::from_checked(pattern.name()));
        let make = || Arc::new(Topic::new(pattern.clone(), self.written, None));
        Arc::clone(topic.or_insert_with(make))
    }

    /// The topic of a channel, if there is one.
    pub(crate) fn existing(&self, channel: &ChannelName) -> Option<&Arc<Topic>> {
        self.channels.get(channel)
    }

    /// The topics of all patterns that end in `/*` and match the channel.
    pub(crate) fn patterns_above(
        &self,
        channel: &ChannelName,
    ) -> impl Iterator<Item = &Arc<Topic>> {
        let parents = (!self.patterns.is_empty()).then(|| channel.parents());
        parents
            .into_iter()
            .flatten()
            .filter_map(|name| self.patterns.get(name))
    }

    /// Entries up to `written` are about to be written to the tapes.
    pub(crate) fn begin_batch(&mut self, written: u64) {
        self.written = written;
    }

    /// Removes the topic of this pattern if it is idle. The bytes on its tape still count, until their
    /// generation is removed.
    pub(crate) fn remove_idle(&mut self, pattern: &Pattern) {
        let topics = if pattern.as_channel().is_some() {
            &mut self.channels
        } else {
            &mut self.patterns
        };
        if topics
            .get(pattern.name())
            .is_some_and(|topic| topic.is_idle())
        {
            topics.remove(pattern.name());
            if topics.capacity() > 4 * topics.len() + 64 {
                topics.shrink_to_fit();
            }
        }
    }

    pub(crate) fn topics(&self) -> Vec<Arc<Topic>> {
        let all = self.channels.values().chain(self.patterns.values());
        all.cloned().collect()
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.channels.len() + self.patterns.len()
    }
}
