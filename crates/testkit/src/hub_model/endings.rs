//! The judgement of the ends of a stream, of errors, and of rest: whether the client has received everything
//! that was due before.

use std::time::Duration;

use tidings_proto::{FeedError, Position};

use super::client::Policy;
use super::judge::{Judge, Received};
use super::ledger::{Ledger, Record};
use super::starts::CountedFor;
use super::{Failed, Verdict, ids};

/// After such a pause without a poll, a hub may say that its log is silent, although it has answered: half of
/// the limit on an answer.
const LONG_PAUSE: Duration = Duration::from_secs(5);

impl Judge {
    /// Checks that the stream may end.
    pub(super) fn handle_end(&self) -> Verdict {
        let book = self.book.open();
        // The end of a channel may be lost or forgotten, and the hub does not know it yet: the client
        // reconnects, and then continues. A hub asks the log every few seconds which ends it has forgotten.
        let have_ended = book.have_ends(&self.patterns, |end| {
            end.lost.min(end.forgotten) > self.request.settled.at
        });
        let may_end = have_ended
            || self.may_be_disconnected(&book)
            || book.last_drain > self.request.at
            || self.request.is_drained;
        if may_end {
            Ok(())
        } else {
            Err(Failed::new(
                "the stream has ended, but its channels have not",
            ))
        }
    }

    /// Whether the client was too slow: it has not received an event that the log has removed, or that is
    /// further back than it may be.
    fn may_be_disconnected(&self, book: &Ledger) -> bool {
        let after = self.least_start(book);
        let lag = book.peak.saturating_sub(after);
        let is_behind = self.spec.max_lag.is_some_and(|max| lag > max);
        let is_missed = |(at, record): (usize, &Record)| {
            let may_count =
                !book.abilities().loss_by_channel || self.counts(book, at, CountedFor::Client);
            record.seq > after && may_count && (is_behind || record.seq < book.first)
        };
        self.spec.policy == Policy::Disconnect
            && (book.records.iter().enumerate().any(is_missed)
                || self.is_unknown_to_log(book, &self.patterns, after))
    }

    /// Whether the client has sent this position.
    fn has_asked(&self, position: &Position) -> bool {
        let asked = self.request.id.as_deref().and_then(ids::parts);
        asked.is_some_and(|asked| asked.0 == *position)
    }

    /// Checks that no event is due to a client without an ID. Later events do not count.
    fn check_none_due_at_request(&self, book: &Ledger) -> Verdict {
        if self.received == Received::GapBeforeSnapshot {
            return Err(Failed::new("there was no snapshot"));
        }
        let newest = self.nth_newest(book);
        let mut due = book.history().filter(|&(at, record)| {
            record.added < self.request.at
                && self.is_for_it(book, at)
                && self.is_due(book, at, newest)
        });
        match due.next() {
            Some((_, record)) => Err(Failed::new(format!("{record:?} was not received"))),
            None => Ok(()),
        }
    }

    /// Checks that the client may get 204.
    pub(super) fn handle_over(&mut self) -> Verdict {
        let book = self.book.clone();
        let book = book.open();
        self.as_of = book.now;
        let judged = || {
            if !book.have_ended(&self.patterns, self.request.at) {
                return Err(Failed::new("its channels have not ended"));
            }
            let Received::UpTo(reached) = &self.received else {
                return self.check_none_due_at_request(&book);
            };
            if !self.has_asked(reached) {
                return Err(Failed::new("no gap reported that its ID is not valid"));
            }
            let at = book.find(reached).map_err(Failed::new)?;
            if book.is_indistinct(at) {
                return Ok(());
            }
            // Changes after the request do not count.
            let lost = at.map_or(u64::MAX, |at| book.records[at].lost);
            if lost < self.request.at {
                return Err(Failed::new(
                    "no gap reported that its history is another one",
                ));
            }
            let Some(newest) = book.newest().filter(|_| lost == u64::MAX) else {
                return Ok(());
            };
            let unreceived = book
                .between(at, newest)
                .map_err(|_| Failed::new("its history is another one"))?;
            let unreceived = unreceived.into_iter().chain([newest]).find(|&missing| {
                let record = &book.records[missing];
                record.seq > reached.seq
                    && record.added < self.request.at
                    && self.is_for_it(&book, missing)
            });
            match unreceived {
                Some(missing) => Err(Failed::new(format!("{:?}", book.records[missing]))),
                None => Ok(()),
            }
        };
        judged().map_err(|failed| failed.of(format_args!("204 after {:?}", self.received)))
    }

    /// Checks that there is a reason for an error: a drain, or a server that did not poll the feed for a
    /// `pause` in which a limit on the log ran out.
    pub(super) fn handle_error(&self, error: &FeedError, pause: Duration) -> Verdict {
        let book = self.book.open();
        if pause > LONG_PAUSE && format!("{error:?}").contains("Silent") {
            return Ok(());
        }
        if book.last_drain == 0 {
            return Err(Failed::new(format!("{error:?}")));
        }
        match self.unserved(&book) {
            Some(at) => Err(Failed::new(format!(
                "{:?} was not served: {error:?}",
                book.records[at]
            ))),
            None => Ok(()),
        }
    }

    /// An entry that a hub must serve although it was drained: the hub had received it before the request,
    /// and its log still holds it.
    fn unserved(&self, book: &Ledger) -> Option<usize> {
        let Received::UpTo(reached) = &self.received else {
            return None;
        };
        let is_known = reached.epoch == *book.epoch() && reached.seq + 1 >= book.first;
        let is_held = is_known && book.last_break < book.settled.at;
        if !is_held || !self.has_asked(reached) {
            return None;
        }
        let after = book.find(reached).ok()?;
        let between = book.between(after, book.newest()?).ok()?;
        between.into_iter().find(|&at| {
            book.records[at].added < self.request.settled.at && self.is_for_it(book, at)
        })
    }

    /// Checks, after all hubs and clients came to rest, that the client has received everything.
    pub(super) fn handle_quiet(&mut self, is_over: bool) -> Verdict {
        if is_over {
            return Ok(());
        }
        let book = self.book.clone();
        let book = book.open();
        self.as_of = book.now;
        let judged = || {
            if book.have_surely_ended(&self.patterns) {
                return Err(Failed::new("its channels have ended"));
            }
            self.check_all_missed(&book)?;
            if let Received::UpTo(reached) = &self.received
                && reached.epoch != *book.epoch()
            {
                return Err(Failed::new("no gap reported the new epoch"));
            }
            if self.received == Received::GapBeforeSnapshot {
                return Err(Failed::new("there was no snapshot"));
            }
            let Some(newest) = book.newest() else {
                return Ok(());
            };
            let position = Position {
                epoch: book.epoch().clone(),
                seq: book.records[newest].seq,
                check: book.records[newest].check,
            };
            if self.received == Received::UpTo(position.clone()) {
                return Ok(());
            }
            let unreceived = self.unreceived(&position, Some(newest), &book)?;
            let nth = self.nth_newest(&book);
            let newest = Some(newest).filter(|&at| self.is_for_it(&book, at));
            let newest = newest.filter(|&at| match self.received {
                Received::Nothing => self.is_due(&book, at, nth),
                _ => true,
            });
            match unreceived.into_iter().chain(newest).next() {
                Some(at) => Err(Failed::new(format!(
                    "{:?} was not received",
                    book.records[at]
                ))),
                None => Ok(()),
            }
        };
        judged().map_err(|failed| failed.of(format_args!("at rest after {:?}", self.received)))
    }
}
