//! The judgement of gaps: whether each one has a true reason, and counts the missed events.

use tidings_hub::EntryKind;
use tidings_proto::{EntryCheck, Event, Gap, GapReason, Position};

use super::client::{Policy, StartPoint};
use super::ids;
use super::judge::{Judge, Received};
use super::ledger::Ledger;
use super::starts::CountedFor;
use super::{Failed, Verdict};

impl Judge {
    pub(super) fn handle_gap(&mut self, event: &Event, book: &Ledger) -> Verdict {
        let gap = Gap::from_event(event).ok_or_else(|| Failed::new("it is not a valid gap"))?;
        let resumed = ids::bare_position(event)?;
        if gap.resumed != resumed.to_string() {
            return Err(Failed::new("its ID is not the position where it resumes"));
        }
        self.check_requested(&gap)?;
        let at = book.find(&resumed).map_err(Failed::new)?;
        self.check_reason(&gap, &resumed, book)?;
        self.check_missed(&gap, &resumed, at, book)?;
        self.check_resumed(&gap, &resumed, book)?;
        self.check_all_missed(book)?;
        (self.missed, self.doubtful) = (0, 0);
        self.replacements.clear();
        // The position of a client that has received nothing is unknown: it may be this one.
        let (is_new, stays) = (
            matches!(self.received, Received::Nothing),
            self.received == Received::UpTo(resumed.clone()),
        );
        let is_latest = self.spec.policy == Policy::Latest && gap.reason == GapReason::Slow;
        if is_latest && (is_new || stays) {
            self.missed = gap.missed.unwrap_or_default();
            self.doubtful = if is_new { self.missed } else { 0 };
        }
        let awaits = resumed.seq == 0 && resumed.check == EntryCheck::from_hash(1);
        self.id = event.id.clone();
        self.before_snapshot = match (&self.received, gap.missed) {
            (Received::UpTo(reached), Some(missed)) if awaits => Some((reached.clone(), missed)),
            _ => None,
        };
        self.received = match gap.reason {
            GapReason::Slow => Received::UpTo(resumed),
            _ if awaits => Received::GapBeforeSnapshot,
            _ => Received::UpTo(resumed),
        };
        Ok(())
    }

    fn check_requested(&self, gap: &Gap) -> Verdict {
        let Some(requested) = &gap.requested else {
            return Ok(());
        };
        let sent = self.request.id.as_deref().and_then(ids::parts);
        if !self.request.is_fresh || sent.is_none_or(|sent| sent.0.to_string() != *requested) {
            return Err(Failed::new("the client did not request that"));
        }
        // Any other ID may be text that the log never issued.
        if gap.reason == GapReason::Trimmed {
            Ok(())
        } else {
            Err(Failed::new("it repeats what the client sent"))
        }
    }

    /// Checks that as many events are missing as the gap reported, and that later ones replaced them.
    pub(super) fn check_all_missed(&self, book: &Ledger) -> Verdict {
        if self.missed <= self.doubtful && self.replacements.is_empty() {
            return Ok(());
        }
        // If the log loses events between the gap and the last event that replaces missed ones, the stream
        // continues with another gap, or with all later events.
        if book.last_break.max(book.last_trim) > self.request.at {
            return Ok(());
        }
        let Self {
            missed,
            replacements,
            ..
        } = self;
        Err(Failed::new(format!(
            "{missed} reported events were not missing, {replacements:?} were not replaced"
        )))
    }

    /// Checks that the reason of a gap is true.
    fn check_reason(&self, gap: &Gap, resumed: &Position, book: &Ledger) -> Verdict {
        // The first gap is about the ID that the client sent, unless the reader was too slow then.
        let asked = self.request.id.as_ref();
        let asked = asked.filter(|_| self.request.is_fresh && gap.reason != GapReason::Slow);
        let position: Option<Position> = match (asked, &self.received) {
            (Some(id), _) => ids::parts(id).map(|parts| parts.0),
            (None, Received::UpTo(position)) => Some(position.clone()),
            (None, _) => None,
        };
        let at = position.as_ref().map(|position| book.find(position));
        let is_gone = match at {
            Some(Ok(Some(at))) => book.records[at].lost != u64::MAX,
            Some(Ok(None)) => book.last_break > 0,
            _ => false,
        };
        let is_right = match gap.reason {
            GapReason::Epoch => match &position {
                Some(position) => is_gone || position.epoch != *book.epoch(),
                None => book.last_break > 0,
            },
            GapReason::Future => is_gone || position.is_none() && book.last_break > 0,
            GapReason::Trimmed => self.is_trimmed(gap, position.as_ref(), book),
            GapReason::UnknownId => asked.is_some() && position.is_none(),
            GapReason::Slow => {
                gap.requested.is_none()
                    && (self.is_trimmed(gap, position.as_ref(), book)
                        || self.is_slow(position.as_ref(), resumed, book))
            }
            _ => false,
        };
        if is_right {
            Ok(())
        } else {
            Err(Failed::new("the reason is not true"))
        }
    }

    /// Whether the log had removed events of the client's channels after this position, or may say so, when
    /// the hub returned the gap.
    fn is_trimmed(&self, gap: &Gap, position: Option<&Position>, book: &Ledger) -> bool {
        let first = book.first_at(self.as_of);
        let knows_channels = book.abilities().loss_by_channel;
        let removed = book.history().take_while(|(_, record)| record.seq < first);
        let removed = removed.filter(|&(at, _)| !knows_channels || self.is_for_it(book, at));
        let mut removed = removed.map(|(_, record)| record);
        let after = position.map_or_else(|| self.least_start(book), |position| position.seq);
        let is_at_start = position.is_none() && gap.reason == GapReason::Trimmed;
        let is_missed = removed.any(|record| {
            // A later life asks again after the place at which the stream has begun.
            record.seq > after
                || match self.spec.start {
                    StartPoint::Earliest => is_at_start,
                    StartPoint::Time(_) => is_at_start && record.time >= self.start_time,
                    _ => false,
                }
        });
        // Without a position, a forgotten channel counts as new, except in a later life.
        is_missed || self.is_unknown_to_log(book, &self.patterns, after)
    }

    /// Whether the reader was further behind than it may be, and has skipped an event.
    fn is_slow(&self, position: Option<&Position>, resumed: &Position, book: &Ledger) -> bool {
        let after = position.map_or(0, |position| position.seq);
        let lag = book.peak.saturating_sub(after);
        if self.spec.max_lag.is_none_or(|max| lag <= max) {
            return false;
        }
        // Such a gap has the last received ID. The events that follow show whether some are left out.
        if self.spec.policy == Policy::Latest {
            return true;
        }
        let after = position.map_or_else(|| self.least_start(book), |position| position.seq);
        let by = if book.abilities().refuses_after_end {
            CountedFor::Client
        } else {
            CountedFor::Log
        };
        // Of any history: the log may have lost the entries since.
        let mut records = book.records.iter().enumerate();
        records.any(|(at, record)| {
            after < record.seq && record.seq <= resumed.seq && self.counts(book, at, by)
        })
    }

    fn check_missed(
        &self,
        gap: &Gap,
        resumed: &Position,
        at: Option<usize>,
        book: &Ledger,
    ) -> Verdict {
        let is_counted = matches!(gap.reason, GapReason::Trimmed | GapReason::Slow);
        if gap.missed.is_some() != is_counted {
            return Err(Failed::new("`missed` is present or absent by mistake"));
        }
        let Some(missed) = gap.missed else {
            return Ok(());
        };
        if missed == 0 {
            return Err(Failed::new("nothing is missed"));
        }
        let stays = self.received == Received::UpTo(resumed.clone());
        let is_latest = self.spec.policy == Policy::Latest && gap.reason == GapReason::Slow;
        let is_new = matches!(self.received, Received::Nothing);
        if is_latest && (stays || is_new) {
            return Ok(());
        }
        // A gap before a snapshot has no position.
        let Some(at) = at else { return Ok(()) };
        self.check_count(missed, &self.received, (resumed, at), book)
    }

    /// Checks the number of missed events between everything that was received and this position.
    pub(super) fn check_count(
        &self,
        missed: u64,
        received: &Received,
        (resumed, at): (&Position, usize),
        book: &Ledger,
    ) -> Verdict {
        let (reached, before) = match received {
            Received::UpTo(reached) => (reached.seq, book.find(reached).map_err(Failed::new)?),
            Received::Nothing => (0, None),
            Received::GapBeforeSnapshot => return Ok(()),
        };
        if missed > resumed.seq.saturating_sub(reached) {
            return Err(Failed::new("more events are missed than there were"));
        }
        if resumed.seq <= reached {
            return Ok(());
        }
        // Of another history, the client misses an unknown number.
        let Ok(mut between) = book.between(before, at) else {
            return Ok(());
        };
        between.push(at);
        let newest = self.nth_newest(book);
        let is_new = matches!(received, Received::Nothing);
        between
            .retain(|&at| self.is_for_it(book, at) && (!is_new || self.is_due(book, at, newest)));
        if missed < between.len() as u64 {
            return Err(Failed::new(format!("{} are missed", between.len())));
        }
        Ok(())
    }

    /// Checks that the stream continues where the start of the subscription says.
    fn check_resumed(&self, gap: &Gap, resumed: &Position, book: &Ledger) -> Verdict {
        let next = resumed.seq + 1;
        let is_oldest = book.was_first(next, self.times_of_request());
        let is_right = match (gap.reason, self.spec.start) {
            (GapReason::Slow, _) => {
                let within = self.spec.max_lag.map(|lag| book.peak.saturating_sub(lag));
                self.spec.policy == Policy::Latest
                    || is_oldest
                    || within.is_some_and(|within| resumed.seq <= within)
            }
            (_, StartPoint::Earliest) | (GapReason::Trimmed, StartPoint::Unset) => is_oldest,
            (_, StartPoint::Unset | StartPoint::Latest) => {
                return self.check_start(resumed.seq, book);
            }
            (_, StartPoint::Last(_) | StartPoint::Time(_)) => {
                self.check_start(resumed.seq, book)?;
                return self.check_none_due(resumed, book);
            }
            (_, StartPoint::Snapshot(_)) => true,
        };
        if is_right {
            Ok(())
        } else {
            Err(Failed::new("it does not continue with the oldest event"))
        }
    }

    /// Checks that a gap skips no event of the start: one of the last events, or an event of its time.
    fn check_none_due(&self, resumed: &Position, book: &Ledger) -> Verdict {
        if book.last_break > self.request.settled.at {
            return Ok(());
        }
        let newest = self.nth_newest(book);
        let first = book.first_at(self.as_of);
        let mut skipped = book.history().filter(|(at, record)| {
            first <= record.seq
                && record.seq <= resumed.seq
                && record.kind == EntryKind::Event
                && self.is_for_it(book, *at)
        });
        match skipped.find(|&(at, _)| self.is_due(book, at, newest)) {
            Some((_, record)) => Err(Failed::new(format!("it skips {record:?}"))),
            None => Ok(()),
        }
    }
}
