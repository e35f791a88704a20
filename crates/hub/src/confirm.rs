//! `Confirmations`: the outcomes of recent entries, for the publishers that wait for them.

use std::collections::{BTreeMap, VecDeque};

use tidings_proto::EntryCheck;
use tokio::sync::oneshot;

/// How many outcomes are kept. An entry may come through the tail before its publisher knows its `seq`;
/// this many later entries may follow it, and the publisher still finds the outcome.
const REMEMBERED: usize = 16 * 1024;

/// The outcome of an entry that came through the tail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The entry's check; `None` if it came after its channel's end.
    pub(crate) check: Option<EntryCheck>,
    /// Identifies the draft. After a rewind, the log may hold another publisher's entry under the same
    /// `seq`.
    pub(crate) content: EntryCheck,
}

/// A publisher that waits, and its outcome.
pub(crate) type Notice = (oneshot::Sender<Outcome>, Outcome);

/// The outcomes of the newest entries, and the publishers that wait for later ones.
#[derive(Debug, Default)]
pub(crate) struct Confirmations {
    /// The `seq` of the next entry that comes through the tail.
    next: u64,
    /// The newest outcomes, in order.
    recent: VecDeque<Outcome>,
    /// By `seq` and a number: several publishers wait for one entry if they repeat a key.
    waiting: BTreeMap<(u64, u64), oneshot::Sender<Outcome>>,
    /// How many publishers have waited so far.
    waited: u64,
    is_over: bool,
}

/// The answer to a publisher that asks for the outcome of an entry.
#[derive(Debug)]
pub(crate) enum Confirmation {
    Known(Outcome),
    /// The entry has not come through the tail yet. The channel closes if it never will.
    Pending(oneshot::Receiver<Outcome>),
    /// It came too long ago. The log still holds it, unless it was removed.
    Forgotten,
}

impl Confirmations {
    /// The first entry that comes through the tail is the one after `base`.
    pub(crate) fn new(base: u64) -> Self {
        Self {
            next: base + 1,
            ..Self::default()
        }
    }

    /// The outcome of an entry, or the means to wait for it.
    pub(crate) fn find(&mut self, seq: u64) -> Confirmation {
        // After the life is over, another entry may have this `seq`.
        if seq < self.next && !self.is_over {
            return self
                .recall(seq)
                .map_or(Confirmation::Forgotten, Confirmation::Known);
        }
        let (sender, receiver) = oneshot::channel();
        if !self.is_over {
            self.waited += 1;
            self.waiting.insert((seq, self.waited), sender);
        }
        Confirmation::Pending(receiver)
    }

    /// The outcome of an entry, if it is kept.
    pub(crate) fn recall(&self, seq: u64) -> Option<Outcome> {
        let back = usize::try_from(self.next.checked_sub(seq)?).ok()?;
        let at = self.recent.len().checked_sub(back)?;
        self.recent.get(at).copied()
    }

    /// Records the outcomes of a batch, in the order of its entries. Adds a notice for each publisher
    /// that waits for one of them. The caller sends the notices without the lock, because a publisher
    /// that is woken may take it.
    pub(crate) fn record(&mut self, outcomes: &[Outcome], notices: &mut Vec<Notice>) {
        for &outcome in outcomes {
            let seq = self.next;
            self.next += 1;
            if self.recent.len() == REMEMBERED {
                self.recent.pop_front();
            }
            self.recent.push_back(outcome);
            while let Some(entry) = self.waiting.first_entry().filter(|e| e.key().0 <= seq) {
                if entry.key().0 < seq {
                    unreachable!("`find` lets no publisher wait for an entry that has come");
                }
                notices.push((entry.remove(), outcome));
            }
        }
    }

    /// The newest entry that a publisher waits for; 0 if none waits.
    pub(crate) fn awaited(&self) -> u64 {
        self.waiting.last_key_value().map_or(0, |(key, _)| key.0)
    }

    /// Gives up, as [`give_up`](Self::give_up) does, on the awaited entries after `last` and up to
    /// `awaited`: the log ends at `last`, so it has lost them.
    #[must_use]
    pub(crate) fn handle_lost(&mut self, last: u64, awaited: u64) -> impl Sized + use<> {
        let is_lost = |&(seq, _): &(u64, u64)| last < seq && seq <= awaited;
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        let (lost, kept): (BTreeMap<_, _>, _) = waiting.partition(|(key, _)| is_lost(key));
        self.waiting = kept;
        lost
    }

    /// How many publishers have waited so far.
    pub(crate) fn waited(&self) -> u64 {
        self.waited
    }

    /// Gives up, as [`give_up`](Self::give_up) does, on the first `waited` publishers that have waited.
    #[must_use]
    pub(crate) fn give_up_until(&mut self, waited: u64) -> impl Sized + use<> {
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        let (expired, kept): (BTreeMap<_, _>, _) = waiting.partition(|(key, _)| key.1 <= waited);
        self.waiting = kept;
        expired
    }

    /// Gives up on all awaited entries. Drop the result without the lock: the drop closes the channels of
    /// the publishers that wait.
    #[must_use]
    fn give_up(&mut self) -> impl Sized + use<> {
        std::mem::take(&mut self.waiting)
    }

    /// Ends the life: gives up on all awaited entries, as [`give_up`](Self::give_up) does, and on all
    /// later ones.
    #[must_use]
    pub(crate) fn handle_over(&mut self) -> impl Sized + use<> {
        self.is_over = true;
        self.give_up()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(confirmations: &mut Confirmations, outcomes: &[Outcome]) {
        let mut notices = Vec::new();
        confirmations.record(outcomes, &mut notices);
        for (sender, outcome) in notices {
            sender.send(outcome).ok();
        }
    }

    fn outcome(seq: u64) -> Outcome {
        Outcome {
            check: Some(EntryCheck::from_hash(seq)),
            content: EntryCheck::from_hash(seq),
        }
    }

    #[test]
    fn an_outcome_is_found_before_and_after_its_entry_came() {
        let mut confirmations = Confirmations::new(10);
        let Confirmation::Pending(mut first) = confirmations.find(11) else {
            panic!()
        };
        let Confirmation::Pending(mut repeat) = confirmations.find(11) else {
            panic!()
        };
        let Confirmation::Pending(mut later) = confirmations.find(13) else {
            panic!()
        };
        let late = Outcome {
            check: None,
            ..outcome(12)
        };
        record(&mut confirmations, &[outcome(11), late]);
        assert_eq!(first.try_recv().unwrap(), outcome(11));
        assert_eq!(repeat.try_recv().unwrap(), outcome(11));
        assert!(later.try_recv().is_err());
        assert!(
            matches!(confirmations.find(11), Confirmation::Known(found) if found == outcome(11))
        );
        assert!(matches!(confirmations.find(12), Confirmation::Known(found) if found == late));
        assert!(matches!(confirmations.find(10), Confirmation::Forgotten));
        record(&mut confirmations, &[outcome(13)]);
        assert_eq!(later.try_recv().unwrap(), outcome(13));
    }

    #[test]
    fn only_the_newest_outcomes_are_kept() {
        let mut confirmations = Confirmations::new(0);
        let outcomes: Vec<_> = (1..=REMEMBERED as u64 + 1).map(outcome).collect();
        record(&mut confirmations, &outcomes);
        assert_eq!(confirmations.recall(1), None);
        assert_eq!(confirmations.recall(2), Some(outcome(2)));
        assert_eq!(confirmations.recall(REMEMBERED as u64 + 2), None);
    }

    #[test]
    fn a_publisher_whose_entry_the_log_has_lost_stops_waiting() {
        let mut confirmations = Confirmations::new(0);
        let mut waits = |seq| match confirmations.find(seq) {
            Confirmation::Pending(waits) => waits,
            found => panic!("{found:?}"),
        };
        let (mut kept, mut lost) = (waits(1), waits(2));
        let awaited = confirmations.awaited();
        let Confirmation::Pending(mut new) = confirmations.find(3) else {
            panic!()
        };
        drop(confirmations.handle_lost(1, awaited));
        assert!(lost.try_recv().is_err());
        record(&mut confirmations, &[outcome(1), outcome(2), outcome(3)]);
        assert_eq!(kept.try_recv().unwrap(), outcome(1));
        assert_eq!(new.try_recv().unwrap(), outcome(3));
    }

    #[test]
    fn publishers_stop_waiting_when_the_life_is_over() {
        let mut confirmations = Confirmations::new(0);
        let Confirmation::Pending(mut waits) = confirmations.find(1) else {
            panic!()
        };
        drop(confirmations.handle_over());
        assert!(matches!(
            waits.try_recv(),
            Err(oneshot::error::TryRecvError::Closed)
        ));
        let Confirmation::Pending(mut late) = confirmations.find(1) else {
            panic!()
        };
        assert!(late.try_recv().is_err());
    }

    #[test]
    fn outcomes_of_a_past_life_are_not_found() {
        let mut confirmations = Confirmations::new(0);
        record(&mut confirmations, &[outcome(1)]);
        drop(confirmations.handle_over());
        let Confirmation::Pending(mut other) = confirmations.find(1) else {
            panic!()
        };
        assert!(other.try_recv().is_err());
    }
}
