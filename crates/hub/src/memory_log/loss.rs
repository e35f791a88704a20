//! `Loss`: which removed events a subscriber misses, judged by what the log knows of each channel.

use super::held::Held;
use super::index::Index;
use super::page::MAX_LOOKS;
use super::record::{Record, Removed};
use super::selection::Selection;

/// Which removed events a subscriber misses.
#[derive(Debug, Clone, Copy)]
pub(super) enum Loss {
    /// All of them.
    Any,
    /// Those after this number.
    After(u64),
    /// Those of this time or later.
    Since(u64),
}

impl Held {
    /// How many removed events of the selected channels are missed, at most. Events after `newest` do not
    /// count.
    pub(super) fn missed(&self, loss: Loss, selection: &Selection<'_>, newest: u64) -> u64 {
        let removed = self.floor().min(newest);
        let most = match loss {
            Loss::Any | Loss::Since(_) => removed,
            Loss::After(after) => removed.saturating_sub(after),
        };
        if most == 0 {
            return 0;
        }
        let of_all = loss.among(self.index.removed()).min(most);
        if selection.is_all() {
            return of_all;
        }
        sum(parts(&self.index, loss, selection), of_all, most)
    }

    /// Whether a subscriber of the selected channels misses an event after this number that was removed.
    pub(super) fn misses_any(&self, after: u64, selection: &Selection<'_>, newest: u64) -> bool {
        self.missed(Loss::After(after), selection, newest) > 0
    }

    /// How many events of the selected channels the log holds after `after`, up to and including `to`.
    pub(super) fn events_between(&self, after: u64, to: u64, selection: &Selection<'_>) -> u64 {
        let after = after.max(self.floor());
        if after >= to {
            return 0;
        }
        let index = &self.index;
        let most = to - after - index.ends_between(after, to);
        if selection.is_all() {
            return most;
        }
        let named = selection.named(index).flatten();
        let channels = named.chain(selection.ranged(index));
        let events = channels.map(|id| index.record(id).events_between(after, to));
        sum(events, most, most)
    }
}

/// The sum of the numbers of some channels, at most `most`. If there are more channels than the log may look
/// at without a delay of appends, it is `of_all`, the number of all channels.
fn sum(numbers: impl Iterator<Item = u64>, of_all: u64, most: u64) -> u64 {
    let mut sum: u64 = 0;
    for (at, number) in numbers.enumerate() {
        // One of the numbers may be that of all forgotten channels.
        if at > MAX_LOOKS {
            return of_all;
        }
        sum = sum.saturating_add(number);
        if sum >= most {
            return most;
        }
    }
    sum
}

/// How many events are missed: of each selected channel, and of channels that were forgotten.
fn parts(index: &Index, loss: Loss, selection: &Selection<'_>) -> impl Iterator<Item = u64> {
    let forgotten = index.forgotten_through();
    let of_named = selection.named(index).map(move |id| match id {
        Some(id) => loss.of(index.record(id)),
        None => loss.unknown(forgotten),
    });
    // Any channel below a name may have been forgotten. The others are known since then.
    let of_forgotten = selection.has_ranges().then(|| loss.unknown(forgotten));
    let known = loss.beyond(forgotten);
    let of_ranged = selection.ranged(index);
    let of_ranged = of_ranged.map(move |id| known.of(index.record(id)));
    of_named.chain(of_forgotten).chain(of_ranged)
}

impl Loss {
    /// How many events of this channel are missed.
    fn of(self, record: &Record) -> u64 {
        let unknown = self.unknown(record.known_since);
        let known = self.beyond(record.known_since);
        unknown + known.among(record.removed)
    }

    /// How many of these removed events are missed.
    fn among(self, removed: Removed) -> u64 {
        match self {
            Self::Any => removed.count,
            Self::After(after) => removed.after(after),
            Self::Since(time) => removed.since(time),
        }
    }

    /// How many events are missed of a channel of which nothing is known up to this number. If the subscriber
    /// has received none of its events, the channel counts as new.
    fn unknown(self, through: u64) -> u64 {
        match self {
            Self::After(after) => through.saturating_sub(after),
            Self::Any | Self::Since(_) => 0,
        }
    }

    /// The part of the loss after this number.
    fn beyond(self, through: u64) -> Self {
        match self {
            Self::After(after) => Self::After(after.max(through)),
            Self::Any | Self::Since(_) => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_of_too_many_channels_is_judged_by_the_whole_log() {
        let zeros = |count| std::iter::repeat_n(0, count);
        let check = |numbers: &mut dyn Iterator<Item = u64>, expected| {
            assert_eq!(sum(numbers, 70, 100), expected);
        };
        check(&mut [1, 2, 3].into_iter(), 6);
        check(&mut [60, 50].into_iter(), 100);
        check(&mut zeros(MAX_LOOKS + 1), 0);
        check(&mut zeros(MAX_LOOKS + 2), 70);
        check(&mut [1].into_iter().chain(zeros(MAX_LOOKS + 1)), 70);
    }
}
