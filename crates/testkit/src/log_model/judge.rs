//! `Judge`: whether a subscriber begins at the right place, and is told the right number of missed events.

use tidings_hub::{Entry, Pattern, Place};

use super::oracle::{Oracle, is_meant};

/// Judges where a subscriber of these patterns begins.
pub(super) struct Judge<'a> {
    pub(super) oracle: &'a Oracle,
    pub(super) patterns: &'a [Pattern],
    pub(super) newest: u64,
}

impl Judge<'_> {
    /// The number of events after `after`, up to and including `to`, also removed ones.
    fn events(&self, after: u64, to: u64) -> impl DoubleEndedIterator<Item = &Entry> {
        let all = self.oracle.after(after);
        all.filter(move |entry| entry.seq <= to && is_meant(self.patterns, entry))
    }

    /// `known` of the removed events were in the present life of their channel; events after the newest entry
    /// of the scope may count.
    fn is_about(&self, missed: u64, known: u64) {
        let later = self.oracle.floor.saturating_sub(self.newest);
        assert!(
            missed <= known && known <= missed + later,
            "{missed} of {known}"
        );
    }

    pub(super) fn after(&self, after: Place, place: Place, missed: u64) {
        let floor = self.oracle.floor;
        let bounds = self
            .oracle
            .missed_after(self.patterns, after.seq, self.newest);
        assert!(
            (bounds.least..=bounds.most).contains(&missed),
            "{missed} {bounds:?}"
        );
        if missed == 0 {
            assert_eq!(place, after);
        } else {
            assert_eq!(place.seq, floor);
        }
    }

    pub(super) fn earliest(&self, place: Place, missed: u64) {
        assert_eq!(place.seq, self.oracle.floor);
        self.is_about(missed, self.oracle.missed(self.patterns, |_| true));
    }

    pub(super) fn time(&self, time: u64, place: Place, missed: u64) {
        let mut held = self.oracle.held();
        let first = held.find(|entry| entry.time >= time);
        let before = first.map_or(self.oracle.last(), |entry| entry.seq - 1);
        assert_eq!(place.seq, before.min(self.newest).max(self.oracle.floor));
        let least = self
            .oracle
            .missed(self.patterns, |entry| entry.time >= time);
        let most = self.oracle.missed(self.patterns, |_| true);
        if least == 0 {
            assert_eq!(missed, 0);
        } else {
            let later = self.oracle.floor.saturating_sub(self.newest);
            assert!(
                least <= missed + later && missed <= most,
                "{least} {missed} {most}"
            );
        }
    }

    pub(super) fn last(&self, count: usize, place: Place, missed: u64) {
        assert_eq!(missed, 0);
        let floor = self.oracle.floor;
        let oldest = self.events(floor, self.newest).rev().take(count).last();
        let before = oldest.map_or(self.newest, |entry| entry.seq - 1);
        assert_eq!(place.seq, before.max(floor));
    }

    pub(super) fn skip(&self, after: u64, to: u64, place: Place, missed: u64) {
        let floor = self.oracle.floor;
        let to = to.min(self.newest).max(floor);
        assert_eq!(place.seq, to);
        let removed = self.oracle.missed_after(self.patterns, after, floor);
        let held = self.events(after.max(floor), to).count() as u64;
        let reach = to.saturating_sub(after);
        let (least, most) = (removed.least + held, (removed.most + held).min(reach));
        assert!((least..=most).contains(&missed), "{least} {missed} {most}");
    }
}
