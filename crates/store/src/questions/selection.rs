//! `Selection`: the channels that patterns select, each once.

use std::sync::LazyLock;

use tidings_hub::{ChannelName, Pattern};

use super::channels::out_of_order;
use super::{MAX_LOOKS, MAX_MATCHES};
use crate::channel_row::ChannelRow;
use crate::failure::Outcome;
use crate::readers::Snapshot;

static FROM: LazyLock<String> = LazyLock::new(|| ChannelRow::select("name >= ?1 ORDER BY name"));

/// The channels that patterns select. No channel matches two of these patterns.
#[derive(Debug, Clone)]
pub(super) struct Selection {
    /// Without a pattern, all channels are selected.
    patterns: Vec<Pattern>,
}

impl Selection {
    pub(super) fn new(patterns: &[Pattern]) -> Self {
        let patterns = Pattern::disjoint(patterns);
        Self {
            patterns: patterns.into_iter().cloned().collect(),
        }
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

    /// The channels that are selected by name; `None` for one that the store does not know.
    pub(super) fn named(
        &self,
        snapshot: &Snapshot<'_>,
    ) -> impl Iterator<Item = Outcome<Option<ChannelRow>>> {
        let names = self.patterns.iter().filter_map(|p| p.as_channel());
        names.map(|name| ChannelRow::find(snapshot.connection, name))
    }

    /// The channels that are selected because of a name above them: at most `max`.
    pub(super) fn ranged(&self, snapshot: &Snapshot<'_>, max: usize) -> Outcome<Vec<ChannelRow>> {
        let ranges = self.patterns.iter().filter(|p| p.as_channel().is_none());
        let mut channels = Vec::new();
        for range in ranges {
            snapshot.below(range.name(), max, &mut channels)?;
        }
        Ok(channels)
    }

    /// The channels that the store knows; `None` if all are selected, or more than `max` because of names
    /// above them.
    pub(super) fn channels(
        &self,
        snapshot: &Snapshot<'_>,
        max: usize,
    ) -> Outcome<Option<Vec<ChannelRow>>> {
        if self.is_all() {
            return Ok(None);
        }
        let mut channels = self.ranged(snapshot, max + 1)?;
        if channels.len() > max {
            return Ok(None);
        }
        for named in self.named(snapshot) {
            channels.extend(named?);
        }
        Ok(Some(channels))
    }
}

impl Snapshot<'_> {
    /// Finds the channels below this name, in the order of names, until `max` were found.
    fn below(&self, name: &str, max: usize, found: &mut Vec<ChannelRow>) -> Outcome<()> {
        // Their names begin with a slash after the name, and `0` is the next character.
        let (first, end) = (format!("{name}/"), format!("{name}0"));
        ChannelRow::check_before(self.connection, &first)?;
        let mut select = self.connection.prepare_cached(&FROM)?;
        let mut rows = select.query([first.as_str()])?;
        let first_found = found.len();
        while found.len() < max
            && let Some(row) = rows.next()?
        {
            let channel = ChannelRow::read(row)?;
            let before = &found[first_found..];
            let is_in_order = channel.name.as_str() > first.as_str()
                && before
                    .last()
                    .is_none_or(|before| before.name < channel.name);
            if !is_in_order {
                return Err(out_of_order(&channel.name));
            }
            if channel.name.as_str() >= end.as_str() {
                break;
            }
            found.push(channel);
        }
        Ok(())
    }
}
