//! A law of random histories: a log answers like one that scans its entries.

use std::collections::HashMap;
use std::sync::Arc;

use fastrand::Rng;
use tidings_hub::{Abilities, Draft, Entry, EntryKind, LogErrorKind, Retention, Start};
use tidings_proto::Position;

use super::history::History;
use super::subject::{Subject, end, event, held, seqs, within};
use super::{Law, ROOMY, law};
use crate::property;
use crate::scanning_log::ScanningLog;

/// The log never forgets whether a channel has lost an event.
const TWELVE: Retention = ROOMY.max_events(Some(12));
const TWO_NAMES: usize = 2;
const TWELVE_AND_TWO_NAMES: Retention = TWELVE.remembered_channels(TWO_NAMES as u64);

pub(super) const LAWS: &[Law] = &[
    law!(a_log_answers_like_one_that_scans, TWELVE),
    law!(
        a_log_that_forgets_answers_like_one_that_scans,
        TWELVE_AND_TWO_NAMES
    ),
];

const STEPS: usize = 300;
const NAMES: &[&str] = &[
    "a", "a/b", "c/1", "b", "a-b", "a/b/c", "d", "c/2", "e", "c/3", "f",
];
const CHANNELS: &[&str] = &[
    "a", "a/b", "a/*", "a/b/*", "b", "c/1", "c/*", "d", "e", "f", "new",
];

async fn a_log_answers_like_one_that_scans(log: Subject) {
    Pair::new(&log, TWELVE).run().await;
}

async fn a_log_that_forgets_answers_like_one_that_scans(log: Subject) {
    Pair::new(&log, TWELVE_AND_TWO_NAMES).run().await;
}

/// The log under test, and one that scans, with the same entries.
struct Pair {
    log: History,
    scan: History,
    rng: Rng,
    /// The newest entries of channels without an end, and of those with one, that the log may have
    /// forgotten; `None` if it forgets none.
    forgotten: Option<[u64; 2]>,
}

impl Pair {
    fn new(log: &Subject, retention: Retention) -> Self {
        let scan = ScanningLog::with(log.abilities(), retention);
        Self {
            log: History::of(log),
            scan: History::of(&Subject(Arc::new(scan))),
            rng: Rng::with_seed(property::seed()),
            forgotten: (retention == TWELVE_AND_TWO_NAMES).then_some([0; 2]),
        }
    }

    async fn run(&mut self) {
        for _ in 0..STEPS {
            self.append().await;
            if self.rng.u8(..) < 8 {
                for history in [&self.log, &self.scan] {
                    let epoch = history.log.bounds().await.epoch;
                    history.log.renew(&epoch).await;
                }
            }
            self.check_contents().await;
            for _ in 0..4 {
                self.check_search().await;
            }
        }
    }

    async fn append(&mut self) {
        // The last names are rare, so that these channels are removed, forgotten and known again.
        let draws = [0; 3].map(|_| self.rng.usize(..NAMES.len()));
        let channel = NAMES[draws.into_iter().min().unwrap()];
        let mut draft = match self.rng.u8(..10) {
            0 => end(channel),
            _ => event(channel, "x"),
        };
        if self.rng.u8(..5) == 0 {
            draft = draft.key(self.rng.u8(..3).to_string());
        }
        let appended = append(&mut self.log, draft.clone()).await;
        assert_eq!(appended, append(&mut self.scan, draft).await);
        self.forget().await;
    }

    /// Finds the channels that the log may have forgotten: the ones without entries, if they are more than
    /// two.
    async fn forget(&mut self) {
        let floor = self.log.floor().await;
        let entries = self.log.entries.iter();
        let newest: HashMap<_, _> = entries.map(|entry| (&entry.channel, entry)).collect();
        let Some(forgotten) = &mut self.forgotten else {
            return;
        };
        for (kind, forgotten) in [EntryKind::Event, EntryKind::End].iter().zip(forgotten) {
            let of_kind = newest.values().filter(|entry| entry.kind == *kind);
            let seqs = of_kind.map(|entry| entry.seq);
            let mut gone: Vec<_> = seqs
                .filter(|seq| (*forgotten + 1..=floor).contains(seq))
                .collect();
            gone.sort_unstable();
            let over = gone.len().saturating_sub(TWO_NAMES);
            *forgotten = gone[..over].last().copied().unwrap_or(*forgotten);
        }
    }

    /// Whether the log must know exactly whether a channel has lost an event after this number.
    fn knows(&self, after: u64) -> bool {
        let abilities = self.log.log.abilities();
        match self.forgotten {
            Some(forgotten) => {
                abilities == Abilities::ALL && forgotten.iter().all(|seq| *seq <= after)
            }
            None => abilities.loss_by_channel,
        }
    }

    async fn check_contents(&self) {
        let (log, scan) = (&self.log.log, &self.scan.log);
        assert_eq!(self.log.floor().await, self.scan.floor().await);
        assert_eq!(log.ends().await, scan.ends().await);
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for (log, channels) in [(log, &mut ours), (scan, &mut theirs)] {
            for channel in log.channels(None, 100).await {
                let newest = channel.newest.map(|newest| newest.seq);
                channels.push((channel.name, newest, channel.end));
            }
        }
        assert_eq!(ours, theirs);
    }

    async fn check_search(&mut self) {
        let count = self.rng.usize(..4);
        let channels = self.rng.choose_multiple(CHANNELS.iter().copied(), count);
        let newest = match self.rng.bool() {
            true => self.log.last(),
            false => self.rng.u64(..=self.log.last()),
        };
        let start = self.start();
        let (place, missed) = self.search(&self.log, start, newest, &channels).await;
        let (scanned, lost) = self.search(&self.scan, start, newest, &channels).await;
        let floor = self.log.floor().await;
        let case = format!("{start:?} of {channels:?} up to {newest}: {place} {missed} {lost}");
        // Without an ID, a channel that was forgotten counts as new.
        let may_count_as_new = matches!(start, Ask::Earliest | Ask::Time(_));
        let forgets = self.forgotten.is_some();
        assert!(lost <= missed || (forgets && may_count_as_new), "{case}");
        let is_exact = |after| newest >= floor && self.knows(after);
        match start {
            Ask::After(seq) => {
                assert!(missed <= floor.saturating_sub(seq), "{case}");
                assert_eq!(place, if missed > 0 { floor } else { seq }, "{case}");
                assert!(!is_exact(seq) || (missed > 0) == (lost > 0), "{case}");
                self.check_read(seq, newest, missed, &channels).await;
            }
            Ask::Last(_) => {
                let [found, expected] = [place, scanned]
                    .map(|place| seqs(&self.log.events(&channels, place + 1..=newest)));
                assert_eq!(found, expected, "{case}");
                assert_eq!(missed, 0, "{case}");
            }
            Ask::Skip(after, _) => {
                assert_eq!(place, scanned, "{case}");
                assert!(!is_exact(after) || (missed > 0) == (lost > 0), "{case}");
            }
            Ask::Earliest => {
                assert_eq!(place, scanned, "{case}");
                // A log that knows nothing of a channel counts it as new.
                assert!(!is_exact(u64::MAX) || lost > 0 || missed == 0, "{case}");
            }
            Ask::Time(_) => assert_eq!(place, scanned, "{case}"),
        }
    }

    /// Checks that a read returns or fails as the answer to a resume after this place requires.
    async fn check_read(&self, after: u64, newest: u64, missed: u64, channels: &[&str]) {
        let floor = self.log.floor().await;
        let newest = self.position(&self.log, newest).await;
        let case = format!("{channels:?} after {after} up to {newest}: {missed}");
        let log = &self.log.log;
        if missed > 0 {
            let trimmed = LogErrorKind::Trimmed { first: floor + 1 };
            let page = log.read_to(&newest, after, 5, channels).await;
            assert_eq!(page, Err(trimmed), "{case}");
        } else {
            let held = after.max(floor) + 1..=newest.seq;
            let entries = log.read_in_pages_to(&newest, after, 5, channels).await;
            assert_eq!(entries, self.log.of_channels(channels, held), "{case}");
        }
    }

    fn start(&mut self) -> Ask {
        let last = self.log.last();
        let seq = self.rng.u64(..=last);
        match self.rng.u8(..8) {
            0 => Ask::Earliest,
            1 => Ask::Last(self.rng.usize(1..8)),
            2 => Ask::Skip(seq, self.rng.u64(seq..=last)),
            3 if seq > 0 && self.is_later(seq) => Ask::Time(seq),
            _ => Ask::After(self.rng.u64(last.saturating_sub(30)..=last)),
        }
    }

    /// Whether this entry has a later time than the one before it, in both logs.
    fn is_later(&self, seq: u64) -> bool {
        let at = usize::try_from(seq - 1).unwrap();
        let is_later = |entries: &[Entry]| at == 0 || entries[at - 1].time < entries[at].time;
        is_later(&self.log.entries) && is_later(&self.scan.entries)
    }

    /// The number of the place that a log finds, and how many events are missed.
    async fn search(
        &self,
        history: &History,
        start: Ask,
        newest: u64,
        channels: &[&str],
    ) -> (u64, u64) {
        let start = match start {
            Ask::After(seq) => Start::After(history.place(seq)),
            Ask::Earliest => Start::Earliest,
            Ask::Time(seq) => {
                let at = usize::try_from(seq - 1).unwrap();
                Start::Time(history.entries[at].time)
            }
            Ask::Last(count) => Start::Last(count),
            Ask::Skip(after, to) => Start::Skip { after, to },
        };
        let newest = self.position(history, newest).await;
        let located = history.log.locate_to(&newest, start, channels).await;
        let (place, missed) = held(located.unwrap());
        assert_eq!(place, history.place(place.seq));
        (place.seq, missed)
    }

    async fn position(&self, history: &History, seq: u64) -> Position {
        let epoch = history.log.bounds().await.epoch;
        history.place(seq).in_epoch(&epoch)
    }
}

/// A start, by the numbers of entries.
#[derive(Debug, Clone, Copy)]
enum Ask {
    After(u64),
    Earliest,
    /// From the time of this entry on.
    Time(u64),
    Last(usize),
    Skip(u64, u64),
}

async fn append(history: &mut History, draft: Draft) -> Result<(u64, bool), LogErrorKind> {
    let appended = within(history.log.0.append(draft)).await;
    let appended = appended.map_err(|error| error.kind())?;
    if !appended.is_repeat {
        history.record(appended.seq).await;
    }
    Ok((appended.seq, appended.is_repeat))
}
