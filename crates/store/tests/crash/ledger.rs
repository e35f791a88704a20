//! `Ledger`: the reports of children about their steps, and the events that they have acknowledged.

use std::collections::{BTreeMap, BTreeSet};

use tidings_hub::Place;
use tidings_proto::{Epoch, Position};

/// A line of a child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    /// It has opened the store.
    Opened(Epoch),
    /// It is about to publish this event.
    Tries(u64),
    /// The hub has acknowledged this event, or has delivered it to a subscriber of the child.
    Has(u64, Position),
    /// It is about to remove the entries before this number.
    Trims(u64),
    /// It has waited longer than an interval since its last event.
    Paused,
    /// It has made a backup after the events that begin with this one.
    BackedUp(u64),
    /// It is about to close the store.
    Closes,
    Closed,
    Failed(String),
}

impl Said {
    /// The line, with its end.
    pub(crate) fn line(&self) -> String {
        match self {
            Self::Opened(epoch) => format!("~opened {epoch}\n"),
            Self::Tries(n) => format!("~tries {n}\n"),
            Self::Has(n, position) => format!("~has {n} {position}\n"),
            Self::Trims(first) => format!("~trims {first}\n"),
            Self::Paused => "~paused\n".to_owned(),
            Self::BackedUp(first) => format!("~backed-up {first}\n"),
            Self::Closes => "~closes\n".to_owned(),
            Self::Closed => "~closed\n".to_owned(),
            Self::Failed(error) => format!("~failed {}\n", error.replace('\n', " ")),
        }
    }

    /// The report in this line; `None` for a line that the test harness has written.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        // The harness writes the name of the test in the same line.
        let (_, said) = line.split_once('~')?;
        let (word, rest) = said.split_once(' ').unwrap_or((said, ""));
        Some(match word {
            "opened" => Self::Opened(Epoch::new(rest).unwrap()),
            "tries" => Self::Tries(rest.parse().unwrap()),
            "has" => {
                let (n, position) = rest.split_once(' ').unwrap();
                Self::Has(n.parse().unwrap(), position.parse().unwrap())
            }
            "trims" => Self::Trims(rest.parse().unwrap()),
            "paused" => Self::Paused,
            "backed-up" => Self::BackedUp(rest.parse().unwrap()),
            "closes" => Self::Closes,
            "closed" => Self::Closed,
            "failed" => Self::Failed(rest.to_owned()),
            _ => panic!("a child said: {line}"),
        })
    }
}

/// All reports of the children of one store up to a moment, and all entries that the parent has read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger {
    /// All epochs, in their order.
    pub(crate) epochs: Vec<Epoch>,
    pub(crate) tried: BTreeSet<u64>,
    /// The events that were acknowledged, delivered or seen, and their places.
    pub(crate) places: BTreeMap<u64, Place>,
    /// Those of them that were acknowledged before the store was last closed or paused.
    pub(crate) settled: BTreeSet<u64>,
    pub(crate) trimmed: u64,
    /// Whether the store was opened and not closed since; it is not sure while the child closes it.
    pub(crate) session: Session,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Session {
    #[default]
    None,
    Open,
    /// An event was acknowledged.
    Used,
    Closing,
}

impl Ledger {
    /// Adds a report of a child. Fails if it contradicts an earlier one.
    pub(crate) fn add(&mut self, said: &Said) -> Result<(), String> {
        match said {
            Said::Opened(epoch) => {
                self.see_epoch(epoch);
                self.session = Session::Open;
            }
            Said::Tries(n) => {
                self.tried.insert(*n);
            }
            Said::Has(n, position) => {
                if self.epochs.last() != Some(&position.epoch) {
                    return Err(format!("event {n} has the epoch of another time"));
                }
                self.see(*n, position.into())?;
                if self.session == Session::Open {
                    self.session = Session::Used;
                }
            }
            Said::Trims(first) => self.trimmed = self.trimmed.max(*first),
            Said::BackedUp(_) => {}
            Said::Paused => self.settle(),
            Said::Closes => self.session = Session::Closing,
            Said::Closed => {
                self.settle();
                self.session = Session::None;
            }
            Said::Failed(error) => return Err(format!("the child failed: {error}")),
        }
        Ok(())
    }

    /// Adds that an event has this place.
    pub(crate) fn see(&mut self, n: u64, place: Place) -> Result<(), String> {
        match self.places.insert(n, place) {
            Some(before) if before != place => {
                Err(format!("event {n} was at {before:?} and is at {place:?}"))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn see_epoch(&mut self, epoch: &Epoch) {
        if self.epochs.last() != Some(epoch) {
            self.epochs.push(epoch.clone());
        }
    }

    /// Everything that was acknowledged is on the disk.
    pub(crate) fn settle(&mut self) {
        self.settled = self.places.keys().copied().collect();
    }

    /// The known events by their numbers in the log. Fails if two events have the same number.
    pub(crate) fn by_seq(&self) -> Result<BTreeMap<u64, u64>, String> {
        let mut events = BTreeMap::new();
        for (n, place) in &self.places {
            if let Some(other) = events.insert(place.seq, *n) {
                return Err(format!(
                    "the events {n} and {other} have the number {}",
                    place.seq
                ));
            }
        }
        Ok(events)
    }
}
