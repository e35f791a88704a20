//! The `Directory` of a life: its topics by channel and by pattern.

use std::collections::HashMap;
use std::sync::Arc;

use crate::topic::Topic;
use crate::{ChannelName, Pattern};

/// The topics that have readers, and the channels that have recent events.
///
/// The fan-out holds its lock from the first entry of a batch until the high-water mark has moved. So a
/// reader never makes a topic between the two. A topic that it makes before is written and woken by the
/// batch; a reader of a topic that it makes after finds the new mark.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    channels: HashMap<ChannelName, Arc<Topic>>,
    /// By the name before `/*`; only those with readers.
    patterns: HashMap<ChannelName, Arc<Topic>>,
}

impl Directory {
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

    /// The topic of a pattern that ends in `/*`. If it is new, its tape holds all events after `since`.
    pub(crate) fn pattern_topic(&mut self, pattern: &Pattern, since: u64) -> &Arc<Topic> {
        let topic = self
            .patterns
            .entry(ChannelName::from_checked(pattern.name()));
        topic.or_insert_with(|| Arc::new(Topic::new(pattern.clone(), since, None)))
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
