//! `Loss`: which removed events a subscriber misses, judged by what the store knows of each channel.

use super::MAX_LOOKS;
use super::selection::Selection;
use crate::channel_row::ChannelRow;
use crate::failure::{Failure, Outcome};
use crate::index_row::IndexRow;
use crate::readers::Snapshot;
use crate::state_row::Removed;

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

impl Snapshot<'_> {
    /// How many removed events of the selected channels are missed, at most. Events after `newest` do not
    /// count.
    pub(super) fn missed(&self, loss: Loss, selection: &Selection, newest: u64) -> Outcome<u64> {
        let removed = self.floor().min(newest);
        let most = match loss {
            Loss::Any | Loss::Since(_) => removed,
            Loss::After(after) => removed.saturating_sub(after),
        };
        if most == 0 {
            return Ok(0);
        }
        let of_all = loss.among(self.state.removed).min(most);
        if selection.is_all() {
            return Ok(of_all);
        }
        self.missed_of(loss, selection, Tally::new(of_all, most))
    }

    /// How many events are missed: of each selected channel, and of channels that were forgotten.
    fn missed_of(&self, loss: Loss, selection: &Selection, mut tally: Tally) -> Outcome<u64> {
        let forgotten = self.state.forgotten_through;
        for named in selection.named(self) {
            let missed = match named? {
                Some(channel) => self.missed_of_channel(loss, &channel)?,
                None => loss.unknown(forgotten),
            };
            if let Some(sum) = tally.add(missed) {
                return Ok(sum);
            }
        }
        if !selection.has_ranges() {
            return Ok(tally.sum);
        }
        // Any channel below a name may have been forgotten. The others are known since then.
        if let Some(sum) = tally.add(loss.unknown(forgotten)) {
            return Ok(sum);
        }
        let known = loss.beyond(forgotten);
        for channel in selection.ranged(self, MAX_LOOKS + 2)? {
            if let Some(sum) = tally.add(self.missed_of_channel(known, &channel)?) {
                return Ok(sum);
            }
        }
        Ok(tally.sum)
    }

    fn missed_of_channel(&self, loss: Loss, channel: &ChannelRow) -> Outcome<u64> {
        let unknown = loss.unknown(channel.known_since);
        let known = loss.beyond(channel.known_since);
        Ok(unknown + known.among(self.removed_of(channel)?))
    }

    /// The events of a channel that were removed.
    fn removed_of(&self, channel: &ChannelRow) -> Outcome<Removed> {
        let Some(newest) = self.newest_row(channel.id, self.floor())? else {
            return Ok(Removed::default());
        };
        let event = if channel.end != Some(newest.seq) {
            newest
        } else if newest.nth == 0 {
            return Ok(Removed::default());
        } else {
            // The newest event before the end stays in the index as long as the end.
            let event = self.newest_row(channel.id, newest.seq - 1)?;
            let event = event.filter(|event| event.nth == newest.nth);
            event.ok_or_else(|| {
                let name = &channel.name;
                let what = format!("the index of channel {name} has no event before its end");
                Failure::damaged(what)
            })?
        };
        Ok(Removed {
            count: event.nth,
            seq: event.seq,
            time: event.time,
        })
    }

    /// How many events of the selected channels the log holds after `after`, up to and including `to`.
    pub(super) fn events_between(
        &self,
        after: u64,
        to: u64,
        selection: &Selection,
    ) -> Outcome<u64> {
        let after = after.max(self.floor());
        if after >= to {
            return Ok(0);
        }
        let most = to - after - self.ends_between(after, to)?;
        if selection.is_all() {
            return Ok(most);
        }
        let mut tally = Tally::new(most, most);
        let named = selection.named(self).filter_map(Result::transpose);
        let ranged = selection.ranged(self, MAX_LOOKS + 2)?;
        for channel in named.chain(ranged.into_iter().map(Ok)) {
            let id = channel?.id;
            let nth = |row: Option<_>| row.map_or(0, |row: IndexRow| row.nth);
            let before = nth(self.newest_row(id, after)?);
            let events = nth(self.newest_row(id, to)?).checked_sub(before);
            let events = events.ok_or_else(|| {
                let what = format!("the index of channel {id} counts back after entry {after}");
                Failure::damaged(what)
            })?;
            if let Some(sum) = tally.add(events) {
                return Ok(sum);
            }
        }
        Ok(tally.sum)
    }

    /// How many ends have a number after `after`, up to and including `to`.
    fn ends_between(&self, after: u64, to: u64) -> Outcome<u64> {
        let select = r#"SELECT count(*) FROM channels WHERE "end" > ?1 AND "end" <= ?2"#;
        let mut select = self.connection.prepare_cached(select)?;
        let count: i64 = select.query_row([after, to].map(u64::cast_signed), |row| row.get(0))?;
        Ok(count.cast_unsigned().min(to - after))
    }
}

/// The sum of the numbers of some channels, at most `most`. If there are more channels than one look may
/// examine, it is `of_all`, the number of all channels.
struct Tally {
    sum: u64,
    numbers: usize,
    of_all: u64,
    most: u64,
}

impl Tally {
    fn new(of_all: u64, most: u64) -> Self {
        Self {
            sum: 0,
            numbers: 0,
            of_all,
            most,
        }
    }

    /// Adds a number, and returns the sum if it is known already.
    fn add(&mut self, number: u64) -> Option<u64> {
        // One of the numbers may be that of all forgotten channels.
        if self.numbers > MAX_LOOKS {
            return Some(self.of_all);
        }
        self.numbers += 1;
        self.sum = self.sum.saturating_add(number);
        (self.sum >= self.most).then_some(self.most)
    }
}

impl Loss {
    /// How many of these removed events are missed.
    fn among(self, removed: Removed) -> u64 {
        match self {
            Self::Any => removed.count,
            Self::After(after) => removed.count.min(removed.seq.saturating_sub(after)),
            Self::Since(time) if removed.time >= time => removed.count,
            Self::Since(_) => 0,
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
        let check = |mut numbers: &mut dyn Iterator<Item = u64>, expected| {
            let mut tally = Tally::new(70, 100);
            let sum = (&mut numbers).find_map(|number| tally.add(number));
            assert_eq!(sum.unwrap_or(tally.sum), expected);
        };
        check(&mut [1, 2, 3].into_iter(), 6);
        check(&mut [60, 50].into_iter(), 100);
        check(&mut zeros(MAX_LOOKS + 1), 0);
        check(&mut zeros(MAX_LOOKS + 2), 70);
        check(&mut [1].into_iter().chain(zeros(MAX_LOOKS + 1)), 70);
    }
}
