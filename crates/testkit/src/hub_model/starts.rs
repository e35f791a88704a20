//! The events that are due to a client that has received nothing yet, by the start of its subscription.

use std::ops::Range;

use tidings_hub::{EntryKind, Pattern};

use super::client::{StartPoint, TimeOf};
use super::judge::{Judge, Received};
use super::ledger::{Ledger, Record};
use super::{Failed, Verdict};

/// The party that counts an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CountedFor {
    /// The client must receive it.
    Client,
    /// A log that stores events after the end of their channel counts them, because it does not know that
    /// nobody receives them.
    Log,
}

impl Judge {
    /// The time at which the subscription starts, by the log's clock; 0 if it starts otherwise.
    pub(super) fn time_of(start: StartPoint, book: &Ledger) -> u64 {
        let time = |back: usize| {
            let entry = book.history().rev().nth(back);
            entry.map_or(0, |(_, record)| record.time)
        };
        match start {
            StartPoint::Time(TimeOf::Entry { back }) => time(back),
            StartPoint::Time(TimeOf::Later { millis }) => time(0) + millis * 1_000_000,
            _ => 0,
        }
    }

    /// Whether a client that has received nothing since it connected without an ID must receive the event,
    /// or a gap for it. `newest`: as [`nth_newest`](Self::nth_newest) returns it.
    pub(super) fn is_due(&self, book: &Ledger, at: usize, newest: Option<u64>) -> bool {
        let record = &book.records[at];
        match self.spec.start {
            StartPoint::Unset | StartPoint::Latest | StartPoint::Snapshot(_) => {
                // The hub may have subscribed it at an entry that was lost, and nobody can tell that from
                // the current one, because the log has trimmed both.
                let is_unknown = book.last_break > self.request.settled.at
                    && record.seq < book.first_at(self.as_of);
                record.added > self.request.at && !is_unknown
            }
            StartPoint::Earliest => !self.is_forgotten(book, record),
            StartPoint::Time(_) => {
                record.time >= self.start_time && !self.is_forgotten(book, record)
            }
            StartPoint::Last(_) => newest.is_some_and(|newest| {
                record.seq >= newest
                    && record.seq >= book.first_at(self.as_of)
                    && record.added <= self.as_of
            }),
        }
    }

    /// With [`StartPoint::Last`]: the `seq` of the oldest event that is certainly among the last ones,
    /// whenever the hub has looked: at the latest when it returned the judged item. `None` if the log has
    /// lost entries since the hub certainly knew them.
    pub(super) fn nth_newest(&self, book: &Ledger) -> Option<u64> {
        let StartPoint::Last(count) = self.spec.start else {
            return None;
        };
        if book.last_break > self.request.settled.at {
            return None;
        }
        let mut events = book.history().rev().filter(|(at, record)| {
            record.added <= self.as_of && self.counts(book, *at, CountedFor::Log)
        });
        let nth = events.nth(count - 1);
        Some(nth.map_or(0, |(_, record)| record.seq))
    }

    /// Whether the log has removed the entry, and has forgotten its channel since: the channel counts as new.
    fn is_forgotten(&self, book: &Ledger, record: &Record) -> bool {
        book.abilities().loss_by_channel
            && record.seq < book.first_at(self.as_of)
            && record.seq <= book.channels.known_since(&record.channel)
    }

    /// Whether the entry is an event of the client's channels.
    pub(super) fn counts(&self, book: &Ledger, at: usize, by: CountedFor) -> bool {
        let record = &book.records[at];
        match by {
            CountedFor::Client => self.is_for_it(book, at),
            CountedFor::Log => record.kind == EntryKind::Event && self.is_meant(book, at),
        }
    }

    /// Checks that the first event, or the first one after a gap, is not older than the start allows. The
    /// stream delivers the events after `after`.
    pub(super) fn check_start(&self, after: u64, book: &Ledger) -> Verdict {
        // The hub knew at least the entries up to `settled` when it looked, unless they were lost since.
        if book.last_break > self.request.settled.at {
            return Ok(());
        }
        let settled = self.request.settled.last;
        let known = || {
            book.history()
                .filter(|(_, record)| after < record.seq && record.seq <= settled)
        };
        match self.spec.start {
            StartPoint::Last(count) => {
                let events = known().filter(|&(at, _)| self.is_for_it(book, at)).count();
                if events > count {
                    return Err(Failed::new(format!("it is followed by {events} events")));
                }
            }
            StartPoint::Time(_) => {
                let next = known().next().map(|(_, next)| next.time);
                if next.is_some_and(|next| next < self.start_time) {
                    return Err(Failed::new("earlier events follow"));
                }
            }
            StartPoint::Unset | StartPoint::Latest if after < settled => {
                return Err(Failed::new("it was published before the subscription"));
            }
            _ => {}
        }
        Ok(())
    }

    /// The time from the last request until the hub returned the judged item.
    pub(super) fn times_of_request(&self) -> Range<u64> {
        self.request.at..self.as_of
    }

    /// A place from which the client surely received or was promised everything. Events up to there are
    /// none that it misses.
    pub(super) fn least_start(&self, book: &Ledger) -> u64 {
        match (&self.received, self.spec.start) {
            (Received::UpTo(position), _) => position.seq,
            (_, StartPoint::Earliest | StartPoint::Time(_) | StartPoint::Last(_)) => {
                self.request.first - 1
            }
            _ if book.last_break > self.request.settled.at => 0,
            _ => self.request.settled.last,
        }
    }

    /// Whether the log may count events of these channels after `after` as missed because it has forgotten
    /// whether there were any.
    pub(super) fn is_unknown_to_log(
        &self,
        book: &Ledger,
        patterns: &[Pattern],
        after: u64,
    ) -> bool {
        book.abilities().loss_by_channel && after < book.channels.all_known_since(patterns)
    }
}
