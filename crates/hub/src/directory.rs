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
    /// The newest entry that is, or is being, written: a topic made now has all events behind it.
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

    /// The topic of this channel; a new one has all events behind `since`, and is asked where it has
    /// ended.
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

    pub(crate) fn pattern_topic(&mut self, pattern: &Pattern) -> Arc<Topic> {
        let topic = self.patterns.entry(pattern.name().clone());
        let make = || Arc::new(Topic::new(pattern.clone(), self.written, None));
        Arc::clone(topic.or_insert_with(make))
    }

    /// The topic of this channel if there is one.
    pub(crate) fn existing(&self, channel: &ChannelName) -> Option<&Arc<Topic>> {
        self.channels.get(channel)
    }

    /// The topics of the patterns that mean this channel among others.
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

    /// Entries up to this one are about to be written.
    pub(crate) fn begin_batch(&mut self, written: u64) {
        self.written = written;
    }

    /// Removes the topic if it is of no more use. What is on it then is forgotten in its turn.
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
