//! The `Judge` of a client: it checks that the client received every event of its channels once and in
//! order, or a gap that reports the loss.

use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;

use tidings_hub::Pattern;
use tidings_proto::{EntryCheck, Event, EventId, FeedError, Gap, GapReason, Position};

use crate::client::{ClientSpec, Policy, StartPoint};
use crate::ledger::{Audience, Book, Ledger};
use crate::{Failed, Verdict};

/// The events that a client has received so far.
#[derive(Debug, Clone, PartialEq)]
enum Received {
    /// Nothing, and it has no ID: it must receive the entries that were added after `since`.
    Nothing { since: u64 },
    /// Nothing, or only a gap: it must receive a snapshot first.
    GapBeforeSnapshot,
    /// All events up to this position.
    UpTo(Position),
}

/// Checks everything that one client receives.
pub(crate) struct Judge {
    spec: ClientSpec,
    patterns: Vec<Pattern>,
    book: Book,
    received: Received,
    /// Its last event ID.
    id: Option<EventId>,
    /// The number of missed events in the last gap of `latest_by`, less those found so far: later
    /// events of the same key must replace them.
    missed: u64,
    /// How many of them cannot be identified, because it is undefined whether the client receives them.
    doubtful: u64,
    /// The keys of missed events for which no later event has arrived yet.
    replacements: HashSet<u64>,
    /// The number of the snapshot that it is receiving, and how many of its events it has received.
    snapshot: Option<(usize, u64)>,
    request: Request,
}

/// The last request of the client, and the state of the log at that time.
struct Request {
    /// The last event ID that it sent.
    id: Option<String>,
    /// The time of the request.
    at: u64,
    /// The last time before it at which every hub had received everything.
    last_rest: u64,
    /// The oldest entry of the log at that time.
    first: u64,
    /// Whether the client has received nothing since.
    is_fresh: bool,
    /// Whether the hub was drained before.
    is_drained: bool,
}

type Events = Result<Vec<Event>, FeedError>;

impl Judge {
    pub(crate) fn new(spec: ClientSpec, patterns: Vec<Pattern>, book: Book) -> Self {
        Self {
            spec,
            patterns,
            book,
            received: Received::Nothing { since: 0 },
            id: None,
            missed: 0,
            doubtful: 0,
            replacements: HashSet::new(),
            snapshot: None,
            request: Request {
                id: None,
                at: 0,
                last_rest: 0,
                first: 1,
                is_fresh: true,
                is_drained: false,
            },
        }
    }

    /// A function that makes its snapshots.
    pub(crate) fn snapshot(
        &self,
        count: u64,
    ) -> impl Fn() -> Pin<Box<dyn Future<Output = Events> + Send>> + Send + Sync + 'static {
        let book = self.book.clone();
        move || {
            let mut book = book.open();
            let number = book.snapshots.len();
            let last = book.last();
            // In an empty log, a snapshot without events looks like no snapshot.
            let count = if last == 0 { count.max(1) } else { count };
            book.snapshots.push((last, count));
            Box::pin(async move {
                tokio::task::yield_now().await;
                let events = (1..=count).map(|n| Event::new(format!("s{number} {n}")));
                Ok(events.map(|event| event.id(EventId::from(17))).collect())
            })
        }
    }

    pub(crate) fn handle_connect(&mut self, id: Option<&str>, is_drained: bool) {
        let mut book = self.book.open();
        let at = book.tick();
        self.request = Request {
            id: id.map(str::to_owned),
            at,
            last_rest: book.last_rest,
            first: book.first,
            is_fresh: true,
            is_drained,
        };
        (self.missed, self.doubtful) = (0, 0);
        self.replacements.clear();
        self.snapshot = None;
        if id.is_none() {
            self.received = match self.spec.start {
                StartPoint::Snapshot(_) => Received::GapBeforeSnapshot,
                StartPoint::Earliest => Received::Nothing { since: 0 },
                _ => Received::Nothing { since: at },
            };
        }
    }

    pub(crate) fn handle_event(&mut self, event: &Event) -> Verdict {
        let book = self.book.clone();
        let book = book.open();
        let judged = match event.event_type() {
            Gap::EVENT_NAME => self.handle_gap(event, &book),
            _ if event.text().starts_with('s') => self.handle_snapshot(event, &book),
            _ => self.handle_published(event, &book),
        };
        self.request.is_fresh = false;
        judged.map_err(|failed| {
            failed.of(format_args!("{event:?} received after {:?}", self.received))
        })
    }

    fn handle_published(&mut self, event: &Event, book: &Ledger) -> Verdict {
        let position = position_of(event)?;
        let at = book.find(&position).map_err(Failed::new)?;
        let at = at.ok_or_else(|| Failed::new("the ID of an event is before the first entry"))?;
        let record = &book.records[at];
        let begins = format!("t{} ", record.token);
        let name = event.event.as_deref().unwrap_or_default();
        if !event.text().starts_with(&begins) || name != name_of(record.token) {
            return Err(Failed::new(format!("the log holds {record:?} there")));
        }
        if event.text().len().abs_diff(record.body_length) > 32 {
            return Err(Failed::new(format!(
                "its length differs from {} bytes",
                record.body_length
            )));
        }
        if !self.is_meant(book, at) {
            return Err(Failed::new("it is of a channel that was not subscribed to"));
        }
        if record.audience == Audience::Late {
            return Err(Failed::new("it is after the end of its channel"));
        }
        self.move_to(position, Some(at), book)?;
        self.replacements.remove(&(book.records[at].token % NAMES));
        Ok(())
    }

    /// Moves the client to this position. Everything before it must have been received or reported.
    fn move_to(&mut self, position: Position, at: Option<usize>, book: &Ledger) -> Verdict {
        for missing in self.between(&position, at, book)? {
            let record = &book.records[missing];
            if record.audience != Audience::All {
                continue;
            }
            let name = record.token % NAMES;
            if self.missed == 0 || name == 0 {
                return Err(Failed::new(format!("{record:?} was not received")));
            }
            self.missed -= 1;
            self.replacements.insert(name);
        }
        self.id = Some(EventId::from(&position));
        self.received = Received::UpTo(position);
        Ok(())
    }

    /// The entries before `position` that the client should have received.
    fn unreceived(
        &self,
        position: &Position,
        at: Option<usize>,
        book: &Ledger,
    ) -> Result<Vec<usize>, Failed> {
        let mut between = self.between(position, at, book)?;
        between.retain(|&at| self.is_for_it(book, at));
        Ok(between)
    }

    /// The entries of its channels after everything it has received and before `position`.
    fn between(
        &self,
        position: &Position,
        at: Option<usize>,
        book: &Ledger,
    ) -> Result<Vec<usize>, Failed> {
        let missed = match &self.received {
            Received::GapBeforeSnapshot => return Err(Failed::new("it came before the snapshot")),
            Received::Nothing { since } => {
                let all = at.map(|at| book.between(None, at));
                let all = all
                    .transpose()
                    .map_err(|_| Failed::new("it is not in the history"))?;
                all.unwrap_or_default()
                    .into_iter()
                    .filter(|&at| self.is_newer(book, at, *since))
                    .collect()
            }
            Received::UpTo(before) => {
                if before.epoch != position.epoch {
                    return Err(Failed::new("it is of another epoch, which no gap reported"));
                }
                if position.seq <= before.seq {
                    return Err(Failed::new("it came again, or after a newer one"));
                }
                let before = book.find(before).map_err(Failed::new)?;
                let newest = at.ok_or_else(|| Failed::new("it went back to the beginning"))?;
                match book.between(before, newest) {
                    Ok(between) => between,
                    Err(_) if book.is_history_unknown => Vec::new(),
                    Err(_) => {
                        let why = "it is of another history, which no gap reported";
                        return Err(Failed::new(why));
                    }
                }
            }
        };
        Ok(missed
            .into_iter()
            .filter(|&at| self.is_meant(book, at))
            .collect())
    }

    /// Whether a client that connected without an ID at the time `since` must receive the entry.
    fn is_newer(&self, book: &Ledger, at: usize, since: u64) -> bool {
        let record = &book.records[at];
        record.added > since
            && (self.spec.start != StartPoint::Earliest || record.seq >= book.first)
    }

    fn is_meant(&self, book: &Ledger, at: usize) -> bool {
        let channel = &book.records[at].channel;
        self.patterns.iter().any(|pattern| pattern.matches(channel))
    }

    fn is_for_it(&self, book: &Ledger, at: usize) -> bool {
        book.records[at].audience == Audience::All && self.is_meant(book, at)
    }

    fn handle_snapshot(&mut self, event: &Event, book: &Ledger) -> Verdict {
        let mut numbers = event.text()[1..].split(' ').map(|n| n.parse().unwrap());
        let (number, n) = (numbers.next().unwrap(), numbers.next().unwrap());
        let number = usize::try_from(number).unwrap();
        let expected = match self.snapshot {
            Some((current, count)) if current == number => count + 1,
            _ => 1,
        };
        if self.received != Received::GapBeforeSnapshot || n != expected {
            return Err(Failed::new(format!("instead of its event {expected}")));
        }
        self.snapshot = Some((number, n));
        if n < book.snapshots[number].1 {
            return Ok(());
        }
        self.end_snapshot(position_of(event)?, book, number)
    }

    fn end_snapshot(&mut self, position: Position, book: &Ledger, number: usize) -> Verdict {
        let at = book.find(&position).map_err(Failed::new)?;
        let is_same = at.is_some_and(|at| book.records[at].lost == u64::MAX);
        if is_same && book.last_break < self.request.at && position.seq > book.snapshots[number].0 {
            return Err(Failed::new("the snapshot is older than its ID"));
        }
        self.id = Some(EventId::from(&position));
        self.received = Received::UpTo(position);
        Ok(())
    }

    fn handle_gap(&mut self, event: &Event, book: &Ledger) -> Verdict {
        let gap = Gap::from_event(event).ok_or_else(|| Failed::new("it is not a valid gap"))?;
        let resumed = position_of(event)?;
        if gap.resumed != resumed.to_string() {
            return Err(Failed::new("its ID is not the position where it resumes"));
        }
        if gap.requested.is_some() {
            if !self.request.is_fresh || gap.requested != self.request.id {
                return Err(Failed::new("the client did not request that"));
            }
            // Any other ID may be text that the log never issued.
            if gap.reason != GapReason::Trimmed {
                return Err(Failed::new("it repeats what the client sent"));
            }
        }
        let at = book.find(&resumed).map_err(Failed::new)?;
        self.check_reason(&gap, book)?;
        self.check_missed(&gap, &resumed, at, book)?;
        self.check_resumed(&gap, &resumed, book)?;
        self.check_all_missed(book)?;
        (self.missed, self.doubtful) = (0, 0);
        self.replacements.clear();
        // The position of a client that has received nothing is unknown: it may be this one.
        let (is_new, stays) = (
            matches!(self.received, Received::Nothing { .. }),
            self.received == Received::UpTo(resumed.clone()),
        );
        let is_latest = self.spec.policy == Policy::Latest && gap.reason == GapReason::Slow;
        if is_latest && (is_new || stays) {
            self.missed = gap.missed.unwrap_or_default();
            self.doubtful = if is_new { self.missed } else { 0 };
        }
        let awaits = resumed.seq == 0 && resumed.check == EntryCheck::from_hash(1);
        self.id = event.id.clone();
        self.received = match gap.reason {
            GapReason::Slow => Received::UpTo(resumed),
            _ if awaits => Received::GapBeforeSnapshot,
            _ => Received::UpTo(resumed),
        };
        Ok(())
    }

    /// Checks that as many events are missing as the gap reported, and that later ones replaced them.
    fn check_all_missed(&self, book: &Ledger) -> Verdict {
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
    fn check_reason(&self, gap: &Gap, book: &Ledger) -> Verdict {
        // The first gap is about the ID that the client sent, unless the reader was too slow then.
        let asked = self.request.id.as_ref();
        let asked = asked.filter(|_| self.request.is_fresh && gap.reason != GapReason::Slow);
        let position: Option<Position> = match (asked, &self.received) {
            (Some(id), _) => id.parse().ok(),
            (None, Received::UpTo(position)) => Some(position.clone()),
            (None, _) => None,
        };
        let at = position.as_ref().map(|position| book.find(position));
        let is_gone = match at {
            Some(Ok(Some(at))) => book.records[at].lost != u64::MAX,
            Some(Ok(None)) => book.last_break > 0,
            _ => false,
        };
        let next = position.as_ref().map_or(0, |position| position.seq + 1);
        let is_trimmed = next < book.first || position.is_none();
        let lag = book.peak.saturating_sub(next.saturating_sub(1));
        let is_slow = self.spec.max_lag.is_some_and(|max| lag > max);
        let is_right = match gap.reason {
            GapReason::Epoch if book.is_history_unknown => true,
            GapReason::Epoch => match &position {
                Some(position) => is_gone || position.epoch != *book.epoch(),
                None => book.last_break > 0,
            },
            GapReason::Future => is_gone || position.is_none() && book.last_break > 0,
            GapReason::Trimmed => is_trimmed,
            GapReason::UnknownId => asked.is_some() && position.is_none(),
            GapReason::Slow => gap.requested.is_none() && (is_trimmed || is_slow),
            _ => false,
        };
        if is_right {
            Ok(())
        } else {
            Err(Failed::new("the reason is not true"))
        }
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
        let (Some(missed), Received::UpTo(reached)) = (gap.missed, &self.received) else {
            return Ok(());
        };
        if *reached == *resumed && self.spec.policy == Policy::Latest {
            return Ok(());
        }
        // A gap before a snapshot has no position.
        let Some(at) = at else { return Ok(()) };
        if missed > resumed.seq.saturating_sub(reached.seq) {
            return Err(Failed::new("more events are missed than there were"));
        }
        let before = book.find(reached).map_err(Failed::new)?;
        if resumed.seq > reached.seq
            && let Ok(mut between) = book.between(before, at)
        {
            between.push(at);
            between.retain(|&at| self.is_for_it(book, at));
            if missed < between.len() as u64 {
                return Err(Failed::new(format!("{} are missed", between.len())));
            }
        }
        Ok(())
    }

    /// Checks that the stream continues with the oldest event, if that is promised.
    fn check_resumed(&self, gap: &Gap, resumed: &Position, book: &Ledger) -> Verdict {
        let next = resumed.seq + 1;
        let is_oldest = self.request.first <= next && next <= book.first;
        let is_right = match (gap.reason, self.spec.start) {
            (GapReason::Slow, _) => {
                let within = self.spec.max_lag.map(|lag| book.peak.saturating_sub(lag));
                self.spec.policy == Policy::Latest
                    || next <= book.first
                    || within.is_some_and(|within| resumed.seq <= within)
            }
            (_, StartPoint::Earliest) | (GapReason::Trimmed, StartPoint::Unset) => is_oldest,
            _ => true,
        };
        if is_right {
            Ok(())
        } else {
            Err(Failed::new("it does not continue with the oldest event"))
        }
    }

    /// Checks the last event ID of the client after each chunk. A new one is a checkpoint.
    pub(crate) fn handle_id(&mut self, id: &EventId) -> Verdict {
        if self.id.as_ref() == Some(id) {
            return Ok(());
        }
        let book = self.book.clone();
        let book = book.open();
        let received = self.received.clone();
        let judged = self.handle_checkpoint(id, &book);
        judged.map_err(|failed| failed.of(format_args!("checkpoint {id} after {received:?}")))
    }

    fn handle_checkpoint(&mut self, id: &EventId, book: &Ledger) -> Verdict {
        let position: Position = id
            .parse()
            .map_err(|_| Failed::new("it is not a position"))?;
        let at = book.find(&position).map_err(Failed::new)?;
        if matches!(self.spec.start, StartPoint::Snapshot(0))
            && self.received == Received::GapBeforeSnapshot
        {
            let number = book.snapshots.len() - 1;
            return self.end_snapshot(position, book, number);
        }
        let unreceived = self.unreceived(&position, at, book)?;
        let is_old = |at: usize| match self.received {
            Received::Nothing { since } => !self.is_newer(book, at, since),
            _ => self.missed > 0,
        };
        let meant = at.filter(|&at| self.is_for_it(book, at) && !is_old(at));
        if !unreceived.is_empty() || meant.is_some() {
            let records = unreceived
                .into_iter()
                .chain(meant)
                .map(|at| &book.records[at]);
            let records: Vec<_> = records.collect();
            return Err(Failed::new(format!("{records:?} were not received")));
        }
        self.id = Some(id.clone());
        self.received = Received::UpTo(position);
        Ok(())
    }

    /// Checks that the stream may end.
    pub(crate) fn handle_end(&self) -> Verdict {
        let book = self.book.open();
        // The end of a channel may be lost since: the client reconnects, and then continues.
        let may_end = self.spec.policy == Policy::Disconnect
            || book.have_ended(&self.patterns, 0)
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

    /// Checks that the client may get 204.
    pub(crate) fn handle_over(&self) -> Verdict {
        let book = self.book.open();
        let judged = || {
            if !book.have_ended(&self.patterns, self.request.at) {
                return Err(Failed::new("its channels have not ended"));
            }
            let Received::UpTo(reached) = &self.received else {
                return Ok(());
            };
            let asked = self.request.id.as_deref();
            if asked != Some(&*reached.to_string()) {
                return Err(Failed::new("no gap reported that its ID is not valid"));
            }
            let at = book.find(reached).map_err(Failed::new)?;
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

    /// Checks that there is a reason for an error: only a drain is one.
    pub(crate) fn handle_error(&self, error: &FeedError) -> Verdict {
        let book = self.book.open();
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
        let asked = self.request.id.as_deref();
        let is_known = reached.epoch == *book.epoch() && reached.seq + 1 >= book.first;
        let is_held = is_known && book.last_break < book.last_rest;
        if !is_held || asked != Some(&*reached.to_string()) {
            return None;
        }
        let after = book.find(reached).ok()?;
        let between = book.between(after, book.newest()?).ok()?;
        between
            .into_iter()
            .find(|&at| book.records[at].added < self.request.last_rest && self.is_for_it(book, at))
    }

    /// Checks, after all hubs and clients came to rest, that the client has received everything.
    pub(crate) fn handle_quiet(&self, is_over: bool) -> Verdict {
        if is_over {
            return Ok(());
        }
        let book = self.book.open();
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
            let newest = Some(newest).filter(|&at| self.is_for_it(&book, at));
            let newest = newest.filter(|&at| match self.received {
                Received::Nothing { since } => self.is_newer(&book, at, since),
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

fn position_of(event: &Event) -> Result<Position, Failed> {
    let id = event
        .id
        .as_ref()
        .ok_or_else(|| Failed::new("it has no ID"))?;
    id.parse()
        .map_err(|_| Failed::new("its ID is not a position"))
}

/// The number of event names, with the empty one.
pub(crate) const NAMES: u64 = 4;

/// The name of the event of this token, which is its key for `latest_by`.
pub(crate) fn name_of(token: u64) -> &'static str {
    ["", "k1", "k2", "k3"][usize::try_from(token % NAMES).unwrap()]
}
