//! `Loss`: which removed events a subscriber misses, judged by what an engine knows of each channel.

use super::{Channels, MAX_LOOKS, Selection};

/// Events that the retention has removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// How many.
    pub count: u64,
    /// The number of the newest one.
    pub seq: u64,
    /// The time of the newest one.
    pub time: u64,
}

impl Removed {
    /// Counts another event, the newest one.
    pub fn add(&mut self, seq: u64, time: u64) {
        let count = self.count + 1;
        *self = Self { count, seq, time };
    }
}

/// Which removed events a subscriber misses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Loss {
    /// All of them.
    Any,
    /// Those after this number.
    After(u64),
    /// Those of this time or later.
    Since(u64),
}

impl Loss {
    /// How many of these removed events are missed, at most.
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

    fn of<C: Channels>(self, channels: &C, channel: &C::Channel) -> Result<u64, C::Error> {
        let known_since = channels.known_since(channel);
        let known = self
            .beyond(known_since)
            .among(channels.removed_of(channel)?);
        Ok(self.unknown(known_since) + known)
    }
}

impl Selection {
    /// Counts the removed events of the selected channels that are missed, at most. Events after `newest` do
    /// not count. Of more than [`MAX_LOOKS`] channels, the loss is judged by the whole log.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn missed<C: Channels>(
        &self,
        channels: &C,
        loss: Loss,
        newest: u64,
    ) -> Result<u64, C::Error> {
        let removed = channels.floor().min(newest);
        let most = match loss {
            Loss::Any | Loss::Since(_) => removed,
            Loss::After(after) => removed.saturating_sub(after),
        };
        if most == 0 {
            return Ok(0);
        }
        let of_all = loss.among(channels.removed()).min(most);
        if self.is_all() {
            return Ok(of_all);
        }
        let forgotten = channels.forgotten_through();
        let mut tally = Tally::new(of_all, most);
        for name in self.names() {
            let missed = match channels.find(name)? {
                Some(channel) => loss.of(channels, &channel)?,
                None => loss.unknown(forgotten),
            };
            if let Some(sum) = tally.add(missed) {
                return Ok(sum);
            }
        }
        if !self.has_ranges() {
            return Ok(tally.sum);
        }
        // Any channel below a name may have been forgotten. The others are known since then.
        if let Some(sum) = tally.add(loss.unknown(forgotten)) {
            return Ok(sum);
        }
        let known = loss.beyond(forgotten);
        for channel in self.ranged(channels, MAX_LOOKS + 2)? {
            if let Some(sum) = tally.add(known.of(channels, &channel)?) {
                return Ok(sum);
            }
        }
        Ok(tally.sum)
    }

    /// Counts the events of the selected channels that the log holds after `after`, up to and including `to`.
    /// Of more than [`MAX_LOOKS`] channels, all events count.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn events_between<C: Channels>(
        &self,
        channels: &C,
        after: u64,
        to: u64,
    ) -> Result<u64, C::Error> {
        let after = after.max(channels.floor());
        if after >= to {
            return Ok(0);
        }
        let most = to - after - channels.ends_between(after, to)?;
        if self.is_all() {
            return Ok(most);
        }
        let mut tally = Tally::new(most, most);
        let named = self.names().map(|name| channels.find(name));
        let named = named.filter_map(Result::transpose);
        let ranged = self.ranged(channels, MAX_LOOKS + 2)?;
        for channel in named.chain(ranged.into_iter().map(Ok)) {
            let events = channels.events_of(&channel?, after, to)?;
            if let Some(sum) = tally.add(events) {
                return Ok(sum);
            }
        }
        Ok(tally.sum)
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

    #[test]
    fn the_number_of_removed_events_is_an_upper_bound() {
        let mut removed = Removed::default();
        assert_eq!(Loss::After(0).among(removed), 0);
        assert_eq!(Loss::Since(0).among(removed), 0);
        removed.add(4, 100);
        removed.add(9, 200);
        assert_eq!(Loss::Any.among(removed), 2);
        let check = |after, expected| assert_eq!(Loss::After(after).among(removed), expected);
        check(0, 2);
        check(7, 2);
        check(8, 1);
        check(9, 0);
        check(10, 0);
        let check = |time, expected| assert_eq!(Loss::Since(time).among(removed), expected);
        check(0, 2);
        check(200, 2);
        check(201, 0);
    }
}
