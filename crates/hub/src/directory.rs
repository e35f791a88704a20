//! The `Directory` of a life: its topics by channel and by pattern, in each form of their IDs.

use std::collections::HashMap;
use std::sync::Arc;

use crate::id_form::IdForm;
use crate::topic::Topic;
use crate::{ChannelName, Pattern};

/// The topics that have readers, and the channels that have recent events.
///
/// The fan-out holds its lock from the first entry of a batch until the high-water mark has moved. So a
/// reader never makes a topic between the two. A topic that it makes before is written and woken by the
/// batch; a reader of a topic that it makes after finds the new mark.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    plain: Topics,
    /// Only those with readers.
    named: Topics,
}

/// The topics whose IDs have one form.
#[derive(Debug, Default)]
struct Topics {
    channels: HashMap<ChannelName, Arc<Topic>>,
    /// By the name before `/*`; only those with readers.
    patterns: HashMap<ChannelName, Arc<Topic>>,
}

impl Directory {
    /// The topic of a channel, with IDs of this form. If it is new, its tape holds all events after `since`,
    /// and `end` returns the `seq` of the channel's end.
    pub(crate) fn channel_topic(
        &mut self,
        channel: &ChannelName,
        form: IdForm,
        since: u64,
        end: impl FnOnce() -> Option<u64>,
    ) -> &Arc<Topic> {
        let channels = &mut self.topics_mut(form).channels;
        if !channels.contains_key(channel) {
            let topic = Topic::new(channel.clone().into(), form, since, end());
            channels.insert(channel.clone(), Arc::new(topic));
        }
        &channels[channel]
    }

    /// The topic of a pattern that ends in `/*`, with IDs of this form. If it is new, its tape holds all
    /// events after `since`.
    pub(crate) fn pattern_topic(
        &mut self,
        pattern: &Pattern,
        form: IdForm,
        since: u64,
    ) -> &Arc<Topic> {
        let patterns = &mut self.topics_mut(form).patterns;
        let topic = patterns.entry(ChannelName::from_checked(pattern.name()));
        topic.or_insert_with(|| Arc::new(Topic::new(pattern.clone(), form, since, None)))
    }

    /// The topics of a channel that there are, in each form.
    pub(crate) fn existing(&self, channel: &ChannelName) -> impl Iterator<Item = &Arc<Topic>> {
        let forms = [&self.plain, &self.named].into_iter();
        forms.filter_map(|topics| topics.channels.get(channel))
    }

    /// The topics of all patterns that end in `/*` and match the channel, with plain IDs.
    pub(crate) fn patterns_above(
        &self,
        channel: &ChannelName,
    ) -> impl Iterator<Item = &Arc<Topic>> {
        self.plain.patterns_above(channel)
    }

    /// Whether a topic has IDs that name channels.
    pub(crate) fn has_named(&self) -> bool {
        !self.named.is_empty()
    }

    /// The topics of the channel, and of all patterns that match it, whose IDs name channels.
    pub(crate) fn named(&self, channel: &ChannelName) -> impl Iterator<Item = &Arc<Topic>> {
        let topic = self.named.channels.get(channel).into_iter();
        topic.chain(self.named.patterns_above(channel))
    }

    /// Removes the topic of this pattern and this form if it is idle. The bytes on its tape still count,
    /// until their generation is removed.
    pub(crate) fn remove_idle(&mut self, pattern: &Pattern, form: IdForm) {
        let topics = self.topics_mut(form);
        let topics = if pattern.as_channel().is_some() {
            &mut topics.channels
        } else {
            &mut topics.patterns
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
        self.plain
            .iter()
            .chain(self.named.iter())
            .cloned()
            .collect()
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.topics().len()
    }

    fn topics_mut(&mut self, form: IdForm) -> &mut Topics {
        match form {
            IdForm::Plain => &mut self.plain,
            IdForm::Named => &mut self.named,
        }
    }
}

impl Topics {
    fn is_empty(&self) -> bool {
        self.channels.is_empty() && self.patterns.is_empty()
    }

    fn iter(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.channels.values().chain(self.patterns.values())
    }

    fn patterns_above(&self, channel: &ChannelName) -> impl Iterator<Item = &Arc<Topic>> {
        let parents = (!self.patterns.is_empty()).then(|| channel.parents());
        parents
            .into_iter()
            .flatten()
            .filter_map(|name| self.patterns.get(name))
    }
}
