//! Owns the names a stream used last, so that owned events share them.

use crate::EventName;

/// More than the kinds of event that come in turns on one stream, few enough to compare with all.
const NAMES: usize = 4;

/// Longer names are not worth keeping.
const MAX_LEN: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct NameCache {
    names: [Option<EventName>; NAMES],
    /// The oldest, replaced next.
    oldest: usize,
}

impl NameCache {
    // Always: what is returned through memory and moved at once makes the processor wait.
    #[inline(always)]
    pub(crate) fn get(&mut self, name: &str) -> EventName {
        if let Some(known) = self.names.iter().flatten().find(|known| *known == name) {
            return known.clone();
        }
        let new = EventName::from_line(name);
        if name.len() <= MAX_LEN {
            self.names[self.oldest] = Some(new.clone());
            self.oldest = (self.oldest + 1) % NAMES;
        }
        new
    }
}
