//! Owns `Judge`: whether a client has heard every event of its channels once and in order, or was told
//! what it has not.

use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;

use tidings_hub::Pattern;
use tidings_proto::{EntryCheck, Event, EventId, FeedError, Gap, GapReason, Position};

use crate::client::{Policy, StartPoint, Wish};
use crate::ledger::{Audience, Book, Ledger};
use crate::{Failed, Verdict};

/// What a client knows of where it is.
#[derive(Debug, Clone, PartialEq)]
enum Place {
    /// It has no id: it is to hear what is newer than this.
    New { since: u64 },
    /// It is to hear a snapshot before all else.
    AwaitsSnapshot,
    /// It has heard all up to here.
    At(Position),
}

pub(crate) struct Judge {
    wish: Wish,
    patterns: Vec<Pattern>,
    book: Book,
    place: Place,
    id: Option<EventId>,
    /// How many events it was told that it misses, of which others are the latest.
    missed: u64,
    /// How many of them may be others: what may be heard and may be not.
    doubtful: u64,
    /// What replaces those.
    owed: HashSet<u64>,
    /// The snapshot that it hears, and how many events of it.
    snapshot: Option<(usize, u64)>,
    request: Request,
}

/// What it said when it connected, and how things stood.
struct Request {
    id: Option<String>,
    at: u64,
    first: u64,
    /// Nothing was heard yet.
    is_fresh: bool,
}

type Events = Result<Vec<Event>, FeedError>;

impl Judge {
    pub(crate) fn new(wish: Wish, patterns: Vec<Pattern>, book: Book) -> Self {
        Self {
            wish,
            patterns,
            book,
            place: Place::New { since: 0 },
            id: None,
            missed: 0,
            doubtful: 0,
            owed: HashSet::new(),
            snapshot: None,
            request: Request {
                id: None,
                at: 0,
                first: 1,
                is_fresh: true,
            },
        }
    }

    /// What makes its snapshots.
    pub(crate) fn snapshot(
        &self,
        count: u64,
    ) -> impl Fn() -> Pin<Box<dyn Future<Output = Events> + Send>> + Send + Sync + 'static {
        let book = self.book.clone();
        move || {
            let mut book = book.open();
            let number = book.snapshots.len();
            let last = book.last();
            // One of nothing could not be told from none before anything is in the log.
            let count = if last == 0 { count.max(1) } else { count };
            book.snapshots.push((last, count));
            Box::pin(async move {
                tokio::task::yield_now().await;
                let events = (1..=count).map(|n| Event::new(format!("s{number} {n}")));
                Ok(events.map(|event| event.id(EventId::from(17))).collect())
            })
        }
    }

    pub(crate) fn handle_connect(&mut self, id: Option<&str>) {
        let mut book = self.book.open();
        let at = book.tick();
        self.request = Request {
            id: id.map(str::to_owned),
            at,
            first: book.first,
            is_fresh: true,
        };
        (self.missed, self.doubtful) = (0, 0);
        self.owed.clear();
        self.snapshot = None;
        if id.is_none() {
            self.place = match self.wish.start {
                StartPoint::Snapshot(_) => Place::AwaitsSnapshot,
                StartPoint::Earliest => Place::New { since: 0 },
                _ => Place::New { since: at },
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
        judged.map_err(|failed| failed.of(format_args!("{event:?} heard at {:?}", self.place)))
    }

    fn handle_published(&mut self, event: &Event, book: &Ledger) -> Verdict {
        let position = position_of(event)?;
        let at = book.find(&position).map_err(Failed::new)?;
        let at = at.ok_or_else(|| Failed::new("an event at no place"))?;
        let fact = &book.facts[at];
        let begins = format!("t{} ", fact.token);
        let name = event.event.as_deref().unwrap_or_default();
        if !event.text().starts_with(&begins) || name != name_of(fact.token) {
            return Err(Failed::new(format!("{fact:?} stands there")));
        }
        if event.text().len().abs_diff(fact.body_length) > 32 {
            return Err(Failed::new(format!("it is of {} bytes", fact.body_length)));
        }
        if !self.is_meant(book, at) {
            return Err(Failed::new("of a channel that was not subscribed to"));
        }
        if matches!(fact.audience, Audience::NobodyBehind(end) if end >= book.first) {
            return Err(Failed::new("behind the end of its channel"));
        }
        self.move_to(position, Some(at), book)?;
        self.owed.remove(&(book.facts[at].token % NAMES));
        Ok(())
    }

    /// It has heard all up to this position.
    fn move_to(&mut self, position: Position, at: Option<usize>, book: &Ledger) -> Verdict {
        for missing in self.between(&position, at, book)? {
            let fact = &book.facts[missing];
            if fact.audience != Audience::All {
                self.doubtful += u64::from(fact.token > 0);
                continue;
            }
            let name = fact.token % NAMES;
            if self.missed == 0 || name == 0 {
                return Err(Failed::new(format!("{fact:?} was not heard")));
            }
            self.missed -= 1;
            self.owed.insert(name);
        }
        self.id = Some(EventId::from(&position));
        self.place = Place::At(position);
        Ok(())
    }

    /// What it should have heard before this.
    fn unheard(
        &self,
        position: &Position,
        at: Option<usize>,
        book: &Ledger,
    ) -> Result<Vec<usize>, Failed> {
        let mut between = self.between(position, at, book)?;
        between.retain(|&at| self.is_for_it(book, at));
        Ok(between)
    }

    /// What stands in its channels behind its place and before this.
    fn between(
        &self,
        position: &Position,
        at: Option<usize>,
        book: &Ledger,
    ) -> Result<Vec<usize>, Failed> {
        let missed = match &self.place {
            Place::AwaitsSnapshot => return Err(Failed::new("before the snapshot")),
            Place::New { since } => {
                let all = at.map(|at| book.between(None, at));
                let all = all.transpose().map_err(|_| Failed::new("of no history"))?;
                all.unwrap_or_default()
                    .into_iter()
                    .filter(|&at| self.is_newer(book, at, *since))
                    .collect()
            }
            Place::At(before) => {
                if before.epoch != position.epoch {
                    return Err(Failed::new("in another epoch, of which it was not told"));
                }
                if position.seq <= before.seq {
                    return Err(Failed::new("again, or after what is newer"));
                }
                let before = book.find(before).map_err(Failed::new)?;
                let newest = at.ok_or_else(|| Failed::new("back at the beginning"))?;
                match book.between(before, newest) {
                    Ok(between) => between,
                    Err(_) if book.is_blurred => Vec::new(),
                    Err(_) => {
                        let why = "in another history, of which it was not told";
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

    /// Whether who came without an id at this time is to hear it.
    fn is_newer(&self, book: &Ledger, at: usize, since: u64) -> bool {
        let fact = &book.facts[at];
        fact.born > since && (self.wish.start != StartPoint::Earliest || fact.seq >= book.first)
    }

    fn is_meant(&self, book: &Ledger, at: usize) -> bool {
        let channel = &book.facts[at].channel;
        self.patterns.iter().any(|pattern| pattern.matches(channel))
    }

    fn is_for_it(&self, book: &Ledger, at: usize) -> bool {
        book.facts[at].audience == Audience::All && self.is_meant(book, at)
    }

    fn handle_snapshot(&mut self, event: &Event, book: &Ledger) -> Verdict {
        let mut numbers = event.text()[1..].split(' ').map(|n| n.parse().unwrap());
        let (number, n) = (numbers.next().unwrap(), numbers.next().unwrap());
        let number = usize::try_from(number).unwrap();
        let expected = match self.snapshot {
            Some((current, heard)) if current == number => heard + 1,
            _ => 1,
        };
        if self.place != Place::AwaitsSnapshot || n != expected {
            return Err(Failed::new(format!("in place of its event {expected}")));
        }
        self.snapshot = Some((number, n));
        if n < book.snapshots[number].1 {
            return Ok(());
        }
        self.end_snapshot(position_of(event)?, book, number)
    }

    fn end_snapshot(&mut self, position: Position, book: &Ledger, number: usize) -> Verdict {
        let at = book.find(&position).map_err(Failed::new)?;
        let is_same = at.is_some_and(|at| book.facts[at].gone == u64::MAX);
        if is_same && book.last_break < self.request.at && position.seq > book.snapshots[number].0 {
            return Err(Failed::new("the snapshot is older than its id"));
        }
        self.id = Some(EventId::from(&position));
        self.place = Place::At(position);
        Ok(())
    }

    fn handle_gap(&mut self, event: &Event, book: &Ledger) -> Verdict {
        let gap = Gap::from_event(event).ok_or_else(|| Failed::new("no gap"))?;
        let resumed = position_of(event)?;
        if gap.resumed != resumed.to_string() {
            return Err(Failed::new("its id is not where it resumes"));
        }
        let is_asked_for = self.request.is_fresh && gap.requested == self.request.id;
        if gap.requested.is_some() && !is_asked_for {
            return Err(Failed::new("nobody has requested that"));
        }
        let at = book.find(&resumed).map_err(Failed::new)?;
        self.check_reason(&gap, book)?;
        self.check_missed(&gap, &resumed, at, book)?;
        self.check_resumed(&gap, &resumed, book)?;
        self.check_all_missed()?;
        (self.missed, self.doubtful) = (0, 0);
        self.owed.clear();
        // Of one that has heard nothing nobody knows where it stands: it may have been moved to there.
        let (is_new, stays) = (
            matches!(self.place, Place::New { .. }),
            self.place == Place::At(resumed.clone()),
        );
        let is_latest = self.wish.policy == Policy::Latest && gap.reason == GapReason::Slow;
        if is_latest && (is_new || stays) {
            self.missed = gap.missed.unwrap_or_default();
            self.doubtful = if is_new { self.missed } else { 0 };
        }
        let awaits = resumed.seq == 0 && resumed.check == EntryCheck::from_hash(1);
        self.id = event.id.clone();
        self.place = match gap.reason {
            GapReason::Slow => Place::At(resumed),
            _ if awaits => Place::AwaitsSnapshot,
            _ => Place::At(resumed),
        };
        Ok(())
    }

    /// As many are missing as it was told, and it has heard what replaces them.
    fn check_all_missed(&self) -> Verdict {
        if self.missed <= self.doubtful && self.owed.is_empty() {
            return Ok(());
        }
        let Self { missed, owed, .. } = self;
        Err(Failed::new(format!(
            "{missed} missed were not, {owed:?} not replaced"
        )))
    }

    /// A gap is told for what has happened.
    fn check_reason(&self, gap: &Gap, book: &Ledger) -> Verdict {
        let position = match (&gap.requested, &self.place) {
            (Some(id), _) => id.parse().ok(),
            (None, Place::At(position)) => Some(position.clone()),
            (None, _) => None,
        };
        let at = position.as_ref().map(|position| book.find(position));
        let is_gone = match at {
            Some(Ok(Some(at))) => book.facts[at].gone != u64::MAX,
            Some(Ok(None)) => book.last_break > 0,
            _ => false,
        };
        let next = position.as_ref().map_or(0, |position| position.seq + 1);
        let is_trimmed = next < book.first || position.is_none();
        let lag = book.peak.saturating_sub(next.saturating_sub(1));
        let is_slow = self.wish.max_lag.is_some_and(|max| lag > max);
        let is_right = match gap.reason {
            GapReason::Epoch if book.is_blurred => true,
            GapReason::Epoch => match &position {
                Some(position) => is_gone || position.epoch != *book.epoch(),
                None => book.last_break > 0,
            },
            GapReason::Future => is_gone || position.is_none() && book.last_break > 0,
            GapReason::Trimmed => is_trimmed,
            GapReason::UnknownId => gap.requested.is_some() && position.is_none(),
            GapReason::Slow => gap.requested.is_none() && (is_trimmed || is_slow),
            _ => false,
        };
        if is_right {
            Ok(())
        } else {
            Err(Failed::new("there is no reason for that"))
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
            return Err(Failed::new("missed"));
        }
        let (Some(missed), Place::At(place)) = (gap.missed, &self.place) else {
            return Ok(());
        };
        if *place == *resumed && self.wish.policy == Policy::Latest {
            return Ok(());
        }
        // A snapshot goes on where no place is.
        let Some(at) = at else { return Ok(()) };
        if missed > resumed.seq.saturating_sub(place.seq) {
            return Err(Failed::new("more is missed than there was"));
        }
        let before = book.find(place).map_err(Failed::new)?;
        if resumed.seq > place.seq
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

    /// Where it goes on is the oldest that is left, where that is promised.
    fn check_resumed(&self, gap: &Gap, resumed: &Position, book: &Ledger) -> Verdict {
        let next = resumed.seq + 1;
        let is_oldest = self.request.first <= next && next <= book.first;
        let is_right = match (gap.reason, self.wish.start) {
            (GapReason::Slow, _) => {
                let within = self.wish.max_lag.map(|lag| book.peak.saturating_sub(lag));
                self.wish.policy == Policy::Latest
                    || next <= book.first
                    || within.is_some_and(|within| resumed.seq <= within)
            }
            (_, StartPoint::Earliest) | (GapReason::Trimmed, StartPoint::Unset) => is_oldest,
            _ => true,
        };
        if is_right {
            Ok(())
        } else {
            Err(Failed::new(
                "it does not go on with the oldest that is left",
            ))
        }
    }

    /// Its last event ID is this, after all that it has heard.
    pub(crate) fn handle_id(&mut self, id: &EventId) -> Verdict {
        if self.id.as_ref() == Some(id) {
            return Ok(());
        }
        let book = self.book.clone();
        let book = book.open();
        let place = self.place.clone();
        let judged = self.handle_checkpoint(id, &book);
        judged.map_err(|failed| failed.of(format_args!("checkpoint {id} at {place:?}")))
    }

    fn handle_checkpoint(&mut self, id: &EventId, book: &Ledger) -> Verdict {
        let position: Position = id.parse().map_err(|_| Failed::new("no position"))?;
        let at = book.find(&position).map_err(Failed::new)?;
        if matches!(self.wish.start, StartPoint::Snapshot(0)) && self.place == Place::AwaitsSnapshot
        {
            let number = book.snapshots.len() - 1;
            return self.end_snapshot(position, book, number);
        }
        let unheard = self.unheard(&position, at, book)?;
        let is_old = |at: usize| match self.place {
            Place::New { since } => !self.is_newer(book, at, since),
            _ => self.missed > 0,
        };
        let meant = at.filter(|&at| self.is_for_it(book, at) && !is_old(at));
        if !unheard.is_empty() || meant.is_some() {
            let facts = unheard.into_iter().chain(meant).map(|at| &book.facts[at]);
            let facts: Vec<_> = facts.collect();
            return Err(Failed::new(format!("{facts:?} were not heard")));
        }
        self.id = Some(id.clone());
        self.place = Place::At(position);
        Ok(())
    }

    /// The stream has ended as it should.
    pub(crate) fn handle_end(&self) -> Verdict {
        let book = self.book.open();
        // An end that the log has lost may be found out only then: it comes back.
        let may_end = self.wish.policy == Policy::Disconnect
            || book.have_ended(&self.patterns, 0)
            || book.last_drain > self.request.at;
        if may_end {
            Ok(())
        } else {
            Err(Failed::new(
                "the stream has ended, and its channels have not",
            ))
        }
    }

    /// 204.
    pub(crate) fn handle_over(&self) -> Verdict {
        let book = self.book.open();
        let judged = || {
            if !book.have_ended(&self.patterns, self.request.at) {
                return Err(Failed::new("its channels have not ended"));
            }
            let Place::At(place) = &self.place else {
                return Ok(());
            };
            let asked = self.request.id.as_deref();
            if asked != Some(&*place.to_string()) {
                return Err(Failed::new("it was not told that its id is none"));
            }
            let at = book.find(place).map_err(Failed::new)?;
            // What has happened since it asked is not asked for.
            let gone = at.map_or(u64::MAX, |at| book.facts[at].gone);
            if gone < self.request.at {
                return Err(Failed::new("it was not told that its history is another"));
            }
            let Some(newest) = book.newest().filter(|_| gone == u64::MAX) else {
                return Ok(());
            };
            let unheard = book
                .between(at, newest)
                .map_err(|_| Failed::new("history"))?;
            let unheard = unheard.into_iter().chain([newest]).find(|&missing| {
                let fact = &book.facts[missing];
                fact.seq > place.seq
                    && fact.born < self.request.at
                    && self.is_for_it(&book, missing)
            });
            match unheard {
                Some(missing) => Err(Failed::new(format!("{:?}", book.facts[missing]))),
                None => Ok(()),
            }
        };
        judged().map_err(|failed| failed.of(format_args!("204 at {:?}", self.place)))
    }

    /// An error is for a log that has failed.
    pub(crate) fn handle_error(&self, error: &FeedError) -> Verdict {
        let book = self.book.open();
        if book.last_drain > 0 {
            return Ok(());
        }
        Err(Failed::new(format!("{error:?}")))
    }

    /// Nothing comes any more: it must have heard all.
    pub(crate) fn handle_quiet(&self, is_over: bool) -> Verdict {
        if is_over {
            return Ok(());
        }
        let book = self.book.open();
        let judged = || {
            if book.have_surely_ended(&self.patterns) {
                return Err(Failed::new("its channels have ended"));
            }
            self.check_all_missed()?;
            if let Place::At(place) = &self.place
                && place.epoch != *book.epoch()
            {
                return Err(Failed::new("it was not told of the epoch"));
            }
            if self.place == Place::AwaitsSnapshot {
                return Err(Failed::new("there was no snapshot"));
            }
            let Some(newest) = book.newest() else {
                return Ok(());
            };
            let position = Position {
                epoch: book.epoch().clone(),
                seq: book.facts[newest].seq,
                check: book.facts[newest].check,
            };
            if self.place == Place::At(position.clone()) {
                return Ok(());
            }
            let unheard = self.unheard(&position, Some(newest), &book)?;
            let newest = Some(newest).filter(|&at| self.is_for_it(&book, at));
            let newest = newest.filter(|&at| match self.place {
                Place::New { since } => self.is_newer(&book, at, since),
                _ => true,
            });
            match unheard.into_iter().chain(newest).next() {
                Some(at) => Err(Failed::new(format!("{:?} was not heard", book.facts[at]))),
                None => Ok(()),
            }
        };
        judged().map_err(|failed| failed.of(format_args!("quiet at {:?}", self.place)))
    }
}

fn position_of(event: &Event) -> Result<Position, Failed> {
    let id = event.id.as_ref().ok_or_else(|| Failed::new("no id"))?;
    id.parse().map_err(|_| Failed::new("its id is no position"))
}

/// How many names there are, with none.
pub(crate) const NAMES: u64 = 4;

/// The name of the event of this token: events of one name replace each other.
pub(crate) fn name_of(token: u64) -> &'static str {
    ["", "k1", "k2", "k3"][usize::try_from(token % NAMES).unwrap()]
}
