//! The `Judge` of a client: it checks that the client received every event of its channels once and in
//! order, or a gap that reports the loss.

use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;

use tidings_hub::{EntryKind, Pattern};
use tidings_proto::{Event, EventId, FeedError, Gap, Position};

use super::client::{ClientSpec, StartPoint};
use super::ledger::{Audience, Book, Ledger, Settled};
use super::{Failed, Verdict, ids};

/// The events that a client has received so far.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Received {
    /// Nothing, and it has no ID.
    Nothing,
    /// Nothing, or only a gap: it must receive a snapshot first.
    GapBeforeSnapshot,
    /// All events up to this position.
    UpTo(Position),
}

/// Checks everything that one client receives.
pub(super) struct Judge {
    pub(super) spec: ClientSpec,
    pub(super) patterns: Vec<Pattern>,
    pub(super) book: Book,
    /// The time of [`StartPoint::Time`], in nanoseconds since 1970.
    pub(super) start_time: u64,
    pub(super) received: Received,
    /// Its last event ID.
    pub(super) id: Option<EventId>,
    /// The number of missed events in the last gap of `latest_by`, less those found so far: later
    /// events of the same key must replace them.
    pub(super) missed: u64,
    /// How many of them cannot be identified, because it is undefined whether the client receives them.
    pub(super) doubtful: u64,
    /// The keys of missed events for which no later event has arrived yet.
    pub(super) replacements: HashSet<u64>,
    /// The number of the snapshot that it is receiving, and how many of its events it has received.
    snapshot: Option<(usize, u64)>,
    /// Everything that the client had received before the gap that announced the snapshot, and the number of
    /// missed events.
    pub(super) before_snapshot: Option<(Position, u64)>,
    pub(super) request: Request,
    /// The time at which the hub returned the item that is judged. Later changes of the log do not excuse it.
    pub(super) as_of: u64,
}

/// The last request of the client, and the state of the log at that time.
pub(super) struct Request {
    /// The last event ID that it sent.
    pub(super) id: Option<String>,
    /// The time of the request.
    pub(super) at: u64,
    /// The last time before it at which every hub had received everything.
    pub(super) settled: Settled,
    /// The oldest entry of the log at that time.
    pub(super) first: u64,
    /// Whether the client has received nothing since.
    pub(super) is_fresh: bool,
    /// Whether the hub was drained before.
    pub(super) is_drained: bool,
}

type Events = Result<Vec<Event>, FeedError>;

impl Judge {
    pub(super) fn new(spec: ClientSpec, patterns: Vec<Pattern>, book: Book) -> Self {
        let start_time = Self::time_of(spec.start, &book.open());
        Self {
            spec,
            patterns,
            book,
            start_time,
            received: Received::Nothing,
            id: None,
            missed: 0,
            doubtful: 0,
            replacements: HashSet::new(),
            snapshot: None,
            before_snapshot: None,
            request: Request {
                id: None,
                at: 0,
                settled: Settled::default(),
                first: 1,
                is_fresh: true,
                is_drained: false,
            },
            as_of: 0,
        }
    }

    /// A function that makes its snapshots.
    pub(super) fn snapshot(
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

    pub(super) fn handle_connect(&mut self, id: Option<&str>, is_drained: bool) {
        let mut book = self.book.open();
        let at = book.tick();
        self.request = Request {
            id: id.map(str::to_owned),
            at,
            settled: book.settled,
            first: book.first,
            is_fresh: true,
            is_drained,
        };
        (self.missed, self.doubtful) = (0, 0);
        self.replacements.clear();
        self.snapshot = None;
        self.before_snapshot = None;
        if id.is_none() {
            self.received = match self.spec.start {
                StartPoint::Snapshot(_) => Received::GapBeforeSnapshot,
                _ => Received::Nothing,
            };
        }
    }

    /// Judges an event. `sent`: when the hub returned it.
    pub(super) fn handle_event(&mut self, event: &Event, sent: u64) -> Verdict {
        self.as_of = sent;
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
        let (position, channel) = ids::of(event)?;
        let at = book.find(&position).map_err(Failed::new)?;
        let at = at.ok_or_else(|| Failed::new("the ID of an event is before the first entry"))?;
        let record = &book.records[at];
        let named = Some(record.channel.as_str()).filter(|_| self.spec.names_channels);
        if channel != named {
            return Err(Failed::new(format!("its ID names the channel {channel:?}")));
        }
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
        if let Audience::Late { end } = record.audience
            && book.records[end].forgotten > self.as_of
        {
            return Err(Failed::new("it is after the end of its channel"));
        }
        if self.received == Received::Nothing && self.missed == 0 {
            self.check_start(record.seq - 1, book)?;
        }
        self.id.clone_from(&event.id);
        self.move_to(position, Some(at), book)?;
        self.replacements.remove(&(book.records[at].token % NAMES));
        Ok(())
    }

    /// Moves the client to this position. Everything before it must have been received or reported.
    fn move_to(&mut self, position: Position, at: Option<usize>, book: &Ledger) -> Verdict {
        for missing in self.between(&position, at, book)? {
            let record = &book.records[missing];
            let name = record.token % NAMES;
            if matches!(record.audience, Audience::Late { .. } | Audience::Undefined) {
                // It may be one of the events that were left out.
                self.doubtful += u64::from(record.kind == EntryKind::Event && self.missed > 0);
                continue;
            }
            if record.audience != Audience::All {
                continue;
            }
            if self.missed == 0 || name == 0 {
                return Err(Failed::new(format!("{record:?} was not received")));
            }
            self.missed -= 1;
            self.replacements.insert(name);
        }
        self.received = Received::UpTo(position);
        Ok(())
    }

    /// The entries before `position` that the client should have received.
    pub(super) fn unreceived(
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
            Received::Nothing => {
                let all = at.map(|at| book.between(None, at));
                let all = all
                    .transpose()
                    .map_err(|_| Failed::new("it is not in the history"))?;
                let mut due = all.unwrap_or_default();
                let newest = self.nth_newest(book);
                due.retain(|&at| self.is_due(book, at, newest));
                due
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
                    Err(_) if book.is_indistinct(before) => Vec::new(),
                    Err(_) => {
                        let why = "it is of another history, which no gap reported";
                        return Err(Failed::new(why));
                    }
                }
            }
        };
        // A hub reads on in a log that has lost an event and trimmed its place, because the log cannot tell.
        let is_due = |at: &usize| self.is_meant(book, *at) && !book.is_indistinct(Some(*at));
        Ok(missed.into_iter().filter(is_due).collect())
    }

    pub(super) fn is_meant(&self, book: &Ledger, at: usize) -> bool {
        let channel = &book.records[at].channel;
        self.patterns.iter().any(|pattern| pattern.matches(channel))
    }

    pub(super) fn is_for_it(&self, book: &Ledger, at: usize) -> bool {
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
        self.id.clone_from(&event.id);
        self.end_snapshot(ids::bare_position(event)?, book, number)
    }

    fn end_snapshot(&mut self, position: Position, book: &Ledger, number: usize) -> Verdict {
        let at = book.find(&position).map_err(Failed::new)?;
        let is_same = at.is_some_and(|at| book.records[at].lost == u64::MAX);
        if is_same && book.last_break < self.request.at && position.seq > book.snapshots[number].0 {
            return Err(Failed::new("the snapshot is older than its ID"));
        }
        if let (Some((reached, missed)), Some(at)) = (self.before_snapshot.take(), at) {
            self.check_count(missed, &Received::UpTo(reached), (&position, at), book)?;
        }
        self.received = Received::UpTo(position);
        Ok(())
    }

    /// Checks the last event ID of the client after each chunk. A new one is a checkpoint. `sent`: when the
    /// hub returned it.
    pub(super) fn handle_id(&mut self, id: &EventId, sent: u64) -> Verdict {
        if self.id.as_ref() == Some(id) {
            return Ok(());
        }
        self.as_of = sent;
        let book = self.book.clone();
        let book = book.open();
        let received = self.received.clone();
        let judged = self.handle_checkpoint(id, &book);
        judged.map_err(|failed| failed.of(format_args!("checkpoint {id} after {received:?}")))
    }

    fn handle_checkpoint(&mut self, id: &EventId, book: &Ledger) -> Verdict {
        let position: Position = match ids::parts(id.as_str()) {
            Some((position, None)) => position,
            _ => return Err(Failed::new("it is not a position")),
        };
        let at = book.find(&position).map_err(Failed::new)?;
        if matches!(self.spec.start, StartPoint::Snapshot(0))
            && self.received == Received::GapBeforeSnapshot
        {
            let number = book.snapshots.len() - 1;
            self.id = Some(id.clone());
            return self.end_snapshot(position, book, number);
        }
        let unreceived = self.unreceived(&position, at, book)?;
        let newest = self.nth_newest(book);
        let is_old = |at: usize| match self.received {
            Received::Nothing => !self.is_due(book, at, newest),
            _ => self.missed > 0,
        };
        let meant = at.filter(|&at| self.is_for_it(book, at) && !is_old(at));
        let meant = meant.filter(|&at| !book.is_indistinct(Some(at)));
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
}

/// The number of event names, with the empty one.
pub(super) const NAMES: u64 = 4;

/// The name of the event of this token, which is its key for `latest_by`.
pub(super) fn name_of(token: u64) -> &'static str {
    ["", "k1", "k2", "k3"][usize::try_from(token % NAMES).unwrap()]
}
