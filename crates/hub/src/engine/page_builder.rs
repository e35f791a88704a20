//! `PageBuilder`: a page of a log while entries are added.

use crate::{Entry, PAGE_BYTES, Page};

/// A [`Page`] while entries are added, in their order.
///
/// ```
/// use tidings_hub::engine::PageBuilder;
/// use tidings_hub::{ChannelName, Draft, Entry};
///
/// let news = Draft::event(ChannelName::from_static("news"), "data: hello\n\n");
/// let mut page = PageBuilder::new(4, 1);
/// assert!(page.add(Entry::new(7, 0, news.clone())));
/// assert!(!page.add(Entry::new(8, 0, news)));
/// let page = page.build();
/// assert_eq!((page.entries.len(), page.through), (1, 7));
/// ```
#[derive(Debug)]
pub struct PageBuilder {
    page: Page,
    limit: usize,
    bytes: usize,
}

impl PageBuilder {
    /// A page of at most `limit` entries after this number. A `limit` of 0 counts as 1.
    #[must_use]
    pub fn new(after: u64, limit: usize) -> Self {
        Self {
            page: Page::new(Vec::new(), after),
            limit: limit.max(1),
            bytes: 0,
        }
    }

    /// The maximum number of entries.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// The number up to which the page covers the log.
    #[must_use]
    pub fn through(&self) -> u64 {
        self.page.through
    }

    /// Whether an entry with a body of this size fits: within the limit and [`PAGE_BYTES`]. The first one
    /// always does.
    #[must_use]
    pub fn has_room(&self, bytes: usize) -> bool {
        let count = self.page.entries.len();
        count == 0 || (count < self.limit && self.bytes.saturating_add(bytes) <= PAGE_BYTES)
    }

    /// Adds an entry, unless it does not fit. Returns whether it was added.
    pub fn add(&mut self, entry: Entry) -> bool {
        let has_room = self.has_room(entry.body.len());
        if has_room {
            self.bytes += entry.body.len();
            self.page.through = entry.seq;
            self.page.entries.push(entry);
        }
        has_room
    }

    /// Covers the entries up to this number, which are added or do not belong to the page.
    pub fn cover(&mut self, through: u64) {
        self.page.through = through;
    }

    /// The finished page.
    #[must_use]
    pub fn build(self) -> Page {
        self.page
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ChannelName, Draft};

    /// Adds entries with bodies of these sizes, and returns how many are in the page.
    fn add(limit: usize, sizes: &[usize]) -> usize {
        let mut page = PageBuilder::new(0, limit);
        for (&size, seq) in sizes.iter().zip(1..) {
            let draft = Draft::event(ChannelName::from_static("a"), vec![b'x'; size]);
            assert_eq!(page.has_room(size), page.add(Entry::new(seq, 0, draft)));
        }
        page.build().entries.len()
    }

    #[test]
    fn a_page_has_a_limit_of_entries_and_of_bytes() {
        assert_eq!(add(0, &[1, 1]), 1);
        assert_eq!(add(2, &[1, 1, 1]), 2);
        assert_eq!(add(9, &[PAGE_BYTES - 1, 1, 0, 1]), 3);
        assert_eq!(add(9, &[PAGE_BYTES + 1, 0, 1]), 1);
    }
}
