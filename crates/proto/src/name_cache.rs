//! Recently used event names, shared between owned events.

use crate::EventName;

/// More names than most streams alternate between, and few enough to compare with each.
const NAMES: usize = 4;

/// The longest name that is kept, in bytes.
const MAX_LEN: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct NameCache {
    names: [Option<EventName>; NAMES],
    /// The index of the oldest name, which the next new name replaces.
    oldest: usize,
}

impl NameCache {
    #[inline]
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
