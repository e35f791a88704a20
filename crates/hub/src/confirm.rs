//! Owns `Confirmations`: what came of recent entries, for the publishers who wait for that.

use std::collections::{BTreeMap, VecDeque};

use tidings_proto::EntryCheck;
use tokio::sync::oneshot;

/// How many entries are remembered: so many may come back through the tail before their publisher
/// has heard where they stand.
const REMEMBERED: usize = 16 * 1024;

/// What came of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// `None` if it stands behind its channel's end.
    pub(crate) check: Option<EntryCheck>,
    /// Of which draft it is: in a log that has fallen back, another one may stand where a publisher's
    /// stood.
    pub(crate) content: EntryCheck,
}

/// Who waits, and for what.
pub(crate) type Notice = (oneshot::Sender<Outcome>, Outcome);

#[derive(Debug, Default)]
pub(crate) struct Confirmations {
    /// The place behind the newest that is remembered.
    next: u64,
    recent: VecDeque<Outcome>,
    /// By place; several publishers wait for one if they repeat a key.
    waiting: BTreeMap<(u64, u64), oneshot::Sender<Outcome>>,
    waited: u64,
    is_over: bool,
}

/// The answer to a publisher that asks for the outcome of an entry.
#[derive(Debug)]
pub(crate) enum Confirmation {
    Known(Outcome),
    /// The entry has not come through the tail yet. The channel closes if it never will.
    Pending(oneshot::Receiver<Outcome>),
    /// It came too long ago. The log still holds it, unless it was trimmed.
    Forgotten,
}

impl Confirmations {
    /// Nothing behind `base` has come back yet.
    pub(crate) fn new(base: u64) -> Self {
        Self {
            next: base + 1,
            ..Self::default()
        }
    }

    /// What came of the entry at this place.
    pub(crate) fn find(&mut self, seq: u64) -> Confirmation {
        // What is remembered of a life that is over may be of another entry at this place.
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

    /// What came of the entry at this place, if that is remembered.
    pub(crate) fn recall(&self, seq: u64) -> Option<Outcome> {
        let back = usize::try_from(self.next.checked_sub(seq)?).ok()?;
        let at = self.recent.len().checked_sub(back)?;
        self.recent.get(at).copied()
    }

    /// These came back, in order, behind all before. Who waits for them is to be notices without the lock,
    /// as whoever is woken may come back here.
    pub(crate) fn record(&mut self, outcomes: &[Outcome], notices: &mut Vec<Notice>) {
        for &outcome in outcomes {
            let seq = self.next;
            self.next += 1;
            if self.recent.len() == REMEMBERED {
                self.recent.pop_front();
            }
            self.recent.push_back(outcome);
            while let Some(entry) = self.waiting.first_entry().filter(|e| e.key().0 <= seq) {
                notices.push((entry.remove(), outcome));
            }
        }
    }

    /// The newest place that somebody waits for.
    pub(crate) fn awaited(&self) -> u64 {
        self.waiting.last_key_value().map_or(0, |(key, _)| key.0)
    }

    /// The log ends at `last`, and so has lost what was awaited behind that: as
    /// [`give_up`](Self::give_up).
    #[must_use]
    pub(crate) fn handle_lost(&mut self, last: u64, awaited: u64) -> impl Sized + use<> {
        let is_lost = |&(seq, _): &(u64, u64)| last < seq && seq <= awaited;
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        let (lost, kept): (BTreeMap<_, _>, _) = waiting.partition(|(key, _)| is_lost(key));
        self.waiting = kept;
        lost
    }

    /// Nothing has come back for long: whoever waits is notices so by the drop of this, without the lock.
    #[must_use]
    pub(crate) fn give_up(&mut self) -> impl Sized + use<> {
        std::mem::take(&mut self.waiting)
    }

    /// Nothing more comes back: as [`give_up`](Self::give_up).
    #[must_use]
    pub(crate) fn handle_over(&mut self) -> impl Sized + use<> {
        self.is_over = true;
        self.give_up()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn come_back(confirmations: &mut Confirmations, outcomes: &[Outcome]) {
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
    fn an_outcome_is_found_before_and_after_it_came() {
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
        come_back(&mut confirmations, &[outcome(11), late]);
        assert_eq!(first.try_recv().unwrap(), outcome(11));
        assert_eq!(repeat.try_recv().unwrap(), outcome(11));
        assert!(later.try_recv().is_err());
        assert!(
            matches!(confirmations.find(11), Confirmation::Known(found) if found == outcome(11))
        );
        assert!(matches!(confirmations.find(12), Confirmation::Known(found) if found == late));
        assert!(matches!(confirmations.find(10), Confirmation::Forgotten));
        come_back(&mut confirmations, &[outcome(13)]);
        assert_eq!(later.try_recv().unwrap(), outcome(13));
    }

    #[test]
    fn what_is_long_past_is_not_remembered() {
        let mut confirmations = Confirmations::new(0);
        let outcomes: Vec<_> = (1..=REMEMBERED as u64 + 1).map(outcome).collect();
        come_back(&mut confirmations, &outcomes);
        assert_eq!(confirmations.recall(1), None);
        assert_eq!(confirmations.recall(2), Some(outcome(2)));
        assert_eq!(confirmations.recall(REMEMBERED as u64 + 2), None);
    }

    #[test]
    fn who_waits_for_what_the_log_has_lost_is_told() {
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
        come_back(&mut confirmations, &[outcome(1), outcome(2), outcome(3)]);
        assert_eq!(kept.try_recv().unwrap(), outcome(1));
        assert_eq!(new.try_recv().unwrap(), outcome(3));
    }

    #[test]
    fn who_waits_is_told_that_nothing_comes() {
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
    fn what_came_back_in_a_life_that_is_over_is_not_taken_for_what_comes() {
        let mut confirmations = Confirmations::new(0);
        come_back(&mut confirmations, &[outcome(1)]);
        drop(confirmations.handle_over());
        let Confirmation::Pending(mut other) = confirmations.find(1) else {
            panic!()
        };
        assert!(other.try_recv().is_err());
    }
}
