//! `Selection`: the channels that patterns select, each once.

use super::index::{ChannelId, Index};
use super::page::{MAX_LOOKS, MAX_MATCHES};
use crate::{ChannelName, Pattern};

/// The channels that patterns select. No channel matches two of these patterns.
pub(super) struct Selection<'a> {
    /// Without a pattern, all channels are selected.
    patterns: Vec<&'a Pattern>,
}

impl<'a> Selection<'a> {
    pub(super) fn new(patterns: &'a [Pattern]) -> Self {
        let patterns = Pattern::disjoint(patterns);
        Self { patterns }
    }

    pub(super) fn is_all(&self) -> bool {
        self.patterns.is_empty()
    }

    /// How many entries one look may compare with the patterns.
    pub(super) fn looks(&self) -> usize {
        (MAX_MATCHES / self.patterns.len().max(1)).clamp(1, MAX_LOOKS)
    }

    pub(super) fn has_ranges(&self) -> bool {
        self.patterns.iter().any(|p| p.as_channel().is_none())
    }

    pub(super) fn covers(&self, channel: &ChannelName) -> bool {
        self.is_all() || self.patterns.iter().any(|p| p.matches(channel))
    }

    /// The channels that are selected by name; `None` for a name that is not in the index.
    pub(super) fn named(&self, index: &Index) -> impl Iterator<Item = Option<ChannelId>> {
        let names = self.patterns.iter().filter_map(|p| p.as_channel());
        names.map(|name| index.find(name))
    }

    /// The channels in the index that are selected because of a name above them.
    pub(super) fn ranged(&self, index: &Index) -> impl Iterator<Item = ChannelId> {
        let ranges = self.patterns.iter().filter(|p| p.as_channel().is_none());
        ranges.flat_map(|range| index.below(range.name()))
    }

    /// The channels in the index; `None` if all are selected, or more than `max` because of names above
    /// them.
    pub(super) fn channels(&self, index: &Index, max: usize) -> Option<Vec<ChannelId>> {
        if self.is_all() {
            return None;
        }
        let mut channels: Vec<_> = self.ranged(index).take(max + 1).collect();
        if channels.len() > max {
            return None;
        }
        channels.extend(self.named(index).flatten());
        Some(channels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_channels_below_a_name_are_found_up_to_a_limit() {
        let mut index = Index::new(0);
        let names = ["a", "a-b", "a/b", "a/c/d", "a0", "b"];
        for name in names {
            index.create(ChannelName::new(name).unwrap());
        }
        let patterns = ["a/*", "b", "none", "none/*"].map(|text| Pattern::new(text).unwrap());
        let selection = Selection::new(&patterns);
        let found = selection.channels(&index, 2).unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|id| index.record(*id).name.as_str())
            .collect();
        assert_eq!(found, ["a/b", "a/c/d", "b"]);
        assert!(selection.channels(&index, 1).is_none());
        assert!(Selection::new(&[]).channels(&index, 9).is_none());
    }
}
