//! `Selection`: the channels that patterns select, each once.

use super::{Channels, MAX_LOOKS};
use crate::{ChannelName, Pattern};

/// The maximum number of pattern matches that one look tries.
const MAX_MATCHES: usize = 65_536;

/// The channels that the patterns of a question select, each once.
///
/// ```
/// use tidings_hub::engine::Selection;
/// use tidings_hub::{ChannelName, Pattern};
///
/// let selection = Selection::new(&["a", "b/*"].map(Pattern::from_static));
/// assert!(selection.covers(&ChannelName::from_static("b/c")));
/// assert!(!selection.covers(&ChannelName::from_static("b")));
/// assert!(Selection::new(&[]).is_all());
/// ```
#[derive(Debug, Clone)]
pub struct Selection {
    /// No channel matches two of them. Without a pattern, all channels are selected.
    patterns: Vec<Pattern>,
}

impl Selection {
    /// The channels that match one of these patterns; without a pattern, all channels.
    #[must_use]
    pub fn new(patterns: &[Pattern]) -> Self {
        let patterns = Pattern::disjoint(patterns);
        Self {
            patterns: patterns.into_iter().cloned().collect(),
        }
    }

    /// Whether all channels are selected.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether this channel is selected.
    #[must_use]
    pub fn covers(&self, channel: &ChannelName) -> bool {
        self.is_all() || self.patterns.iter().any(|p| p.matches(channel))
    }

    /// How many entries one look may compare with the patterns.
    #[must_use]
    pub fn looks(&self) -> usize {
        (MAX_MATCHES / self.patterns.len().max(1)).clamp(1, MAX_LOOKS)
    }

    /// Whether channels are selected because of a name above them.
    pub(super) fn has_ranges(&self) -> bool {
        self.ranges().next().is_some()
    }

    /// The names of the channels that are selected by name.
    pub(super) fn names(&self) -> impl Iterator<Item = &ChannelName> {
        self.patterns.iter().filter_map(|p| p.as_channel())
    }

    /// The patterns that select channels because of a name above them.
    fn ranges(&self) -> impl Iterator<Item = &Pattern> {
        self.patterns.iter().filter(|p| p.as_channel().is_none())
    }

    /// The channels that are selected because of a name above them: at most `max`.
    pub(super) fn ranged<C: Channels>(
        &self,
        channels: &C,
        max: usize,
    ) -> Result<Vec<C::Channel>, C::Error> {
        let mut found = Vec::new();
        for range in self.ranges() {
            found.extend(channels.below(range.name(), max.saturating_sub(found.len()))?);
        }
        Ok(found)
    }

    /// Finds the selected channels that the engine knows; `None` if all are selected, or more than `max`
    /// because of names above them.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn channels<C: Channels>(
        &self,
        channels: &C,
        max: usize,
    ) -> Result<Option<Vec<C::Channel>>, C::Error> {
        if self.is_all() {
            return Ok(None);
        }
        let mut found = self.ranged(channels, max.saturating_add(1))?;
        if found.len() > max {
            return Ok(None);
        }
        for name in self.names() {
            found.extend(channels.find(name)?);
        }
        Ok(Some(found))
    }
}
