//! `WrongLog`: a log that breaks some laws because of one bug.

use std::collections::HashSet;
use std::future::ready;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Waker};

use futures_util::FutureExt;
use futures_util::stream::{self, StreamExt};
use tidings_hub::{
    Abilities, Appended, Bounds, ChannelName, Draft, Entry, EntryKind, Located, Log, LogError,
    LogErrorKind, LogFuture, Page, Place, Retention, Scope, Start, StoredChannel, Tail,
};
use tidings_proto::{Epoch, Position};
use tidings_testkit::interpose::{Interpose, Interposed};
use tidings_testkit::scanning_log::ScanningLog;

/// The fault of a wrong log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    // Abilities.
    DeclaresTooMuch,
    DeclaresTooLittle,
    LearnsItsAbilities,
    // Appends and keys.
    BeginsWithAnEntry,
    AppendsWhenPolled,
    AppendsTwice,
    CutsBodies,
    IgnoresCase,
    MeasuresTimeInSeconds,
    ForgetsKeys,
    TakesBodiesForKeys,
    KeepsKeysOfRefusedAppends,
    // Pages.
    PageSkipsAnEntry,
    PageBeginsTooEarly,
    ReadGivesUp,
    ReadIgnoresTheNewest,
    ReadSkipsTheRemoved,
    ReadJudgesTheWholeLog,
    ZeroIsNoLimit,
    PagesAreLarge,
    // Tails.
    TailSkipsAnEntry,
    TailIsNotWoken,
    TailChecksNothing,
    TailSkipsTheRemoved,
    TailOutlivesTheEpoch,
    // Retention.
    KeepsOneMore,
    KeepsTwiceTheBytes,
    KeepsTheOld,
    RemovesTheNewest,
    // Places and losses.
    IgnoresChecks,
    HoldsTheFuture,
    DoesNotHoldTheFuture,
    SearchIgnoresTheNewest,
    SearchEndsBelowTheFloor,
    TellsNoLoss,
    CountsOneTooFew,
    CountsOneTooMany,
    CountsOtherChannels,
    CountsEnds,
    CountsTheForgottenAsNone,
    CountsTheForgottenAlways,
    // Starts.
    EarliestIsTheStart,
    EarliestTellsNoLoss,
    TimeIsExclusive,
    TimeTellsNoLoss,
    TimeTellsEarlierLosses,
    LastCountsEnds,
    LastIsOfTheFirstChannel,
    LastGivesUp,
    LastMissesEvents,
    SkipCountsOneTooFew,
    SkipCountsOtherChannels,
    SkipCountsOnlyTheHeld,
    // Ends.
    MisplacesEnds,
    ForgetsNoEndSinceEver,
    RefusesTooLate,
    ForgetsRemovedEnds,
    RenewalForgetsEnds,
    RemembersOneEndLess,
    RemembersAllEnds,
    ForgetsTheNewestEnds,
    // Channels.
    NewestIsTheEnd,
    RemembersAllNames,
    NamesTheFirstEpoch,
    OrdersBySegments,
    ChannelsRepeat,
    ChannelsSkip,
    ChannelsOmitEnded,
    // Epochs.
    RenewsByItself,
    RenewsAlways,
    RenewsNever,
}

pub(crate) struct WrongLog {
    inner: ScanningLog,
    bug: Bug,
    retention: Retention,
    first_epoch: OnceLock<Epoch>,
    was_renewed: AtomicBool,
    refused: Mutex<HashSet<Arc<str>>>,
}

impl WrongLog {
    pub(crate) fn new(bug: Bug, retention: Retention) -> Interposed<Self> {
        let log = Self {
            inner: ScanningLog::with(abilities(bug), wrong_retention(bug, retention)),
            bug,
            retention,
            first_epoch: OnceLock::new(),
            was_renewed: AtomicBool::new(false),
            refused: Mutex::default(),
        };
        log.first_epoch.get_or_init(|| log.look().epoch);
        if bug == Bug::BeginsWithAnEntry {
            let draft = Draft::event(ChannelName::new("first").unwrap(), "x");
            now(log.inner.append(draft)).unwrap();
        }
        Interposed(log)
    }

    fn has(&self, bug: Bug) -> bool {
        self.bug == bug
    }

    fn look(&self) -> Bounds {
        now(self.inner.bounds()).unwrap()
    }

    /// The entries that are held of these channels.
    fn held(&self, scope: Scope<'_>) -> Vec<Entry> {
        let entries = self.everything();
        entries
            .into_iter()
            .filter(|e| scope.covers(&e.channel))
            .collect()
    }

    fn everything(&self) -> Vec<Entry> {
        let (bounds, mut entries) = (self.look(), Vec::new());
        let (mut at, newest) = (bounds.floor.seq, bounds.newest());
        while at < newest.seq {
            let page = now(self.inner.read(at, usize::MAX, Scope::all(&newest))).unwrap();
            at = page.through;
            entries.extend(page.entries);
        }
        entries
    }

    /// The place before an entry that is held.
    fn before(&self, seq: u64) -> Place {
        let floor = self.look().floor;
        let entries = self.everything();
        let before = entries.iter().rev().find(|entry| entry.seq < seq);
        before.map_or(floor, |entry| Place {
            seq: entry.seq,
            check: entry.check(),
        })
    }

    /// Whether this one of ten channels is older than the channels that are remembered.
    fn is_forgotten(&self, channel: &str) -> bool {
        let remembered = self.retention.remembered_channels;
        let number = channel
            .rsplit('/')
            .next()
            .and_then(|number| number.parse::<u64>().ok());
        number.is_some_and(|number| number + remembered < 10)
    }
}

fn abilities(bug: Bug) -> Abilities {
    match bug {
        Bug::DeclaresTooMuch | Bug::LearnsItsAbilities => Abilities::NONE,
        Bug::CountsOtherChannels => Abilities::ALL.loss_by_channel(false),
        Bug::RefusesTooLate => Abilities::ALL.refuses_after_end(false),
        Bug::ForgetsRemovedEnds => Abilities::ALL.remembers_ends(false),
        _ => Abilities::ALL,
    }
}

fn wrong_retention(bug: Bug, retention: Retention) -> Retention {
    let names = retention.remembered_channels;
    match bug {
        Bug::KeepsOneMore => retention.max_events(retention.max_events.map(|max| max + 1)),
        Bug::KeepsTwiceTheBytes => retention.max_bytes(retention.max_bytes * 2),
        Bug::KeepsTheOld => retention.max_age(None),
        Bug::RemembersOneEndLess => retention.remembered_channels(names.saturating_sub(1)),
        Bug::RemembersAllEnds => retention.remembered_channels(u64::MAX),
        _ => retention,
    }
}

impl Interpose for WrongLog {
    fn inner(&self) -> &dyn Log {
        &self.inner
    }

    fn abilities(&self) -> Abilities {
        match self.bug {
            Bug::DeclaresTooLittle => Abilities::NONE,
            Bug::LearnsItsAbilities => {
                Abilities::NONE.loss_by_channel(!now(self.inner.ends()).unwrap().is_empty())
            }
            _ => Abilities::ALL,
        }
    }

    fn bounds(&self) -> LogFuture<'_, Bounds> {
        let mut bounds = self.look();
        if self.has(Bug::RemovesTheNewest) {
            bounds.floor = bounds.last;
        }
        if self.has(Bug::ForgetsNoEndSinceEver) {
            bounds.ends_since = 1;
        }
        answer(Ok(bounds))
    }

    fn ends(&self) -> LogFuture<'_, Vec<(ChannelName, u64)>> {
        let mut ends = now(self.inner.ends()).unwrap();
        match self.bug {
            Bug::RenewalForgetsEnds if self.was_renewed.load(Ordering::SeqCst) => ends.clear(),
            Bug::ForgetsTheNewestEnds => ends.truncate(2),
            Bug::MisplacesEnds => ends.iter_mut().for_each(|end| end.1 += 1),
            _ => {}
        }
        answer(Ok(ends))
    }

    fn channel<'a>(&'a self, name: &'a ChannelName) -> LogFuture<'a, Option<StoredChannel>> {
        let mut channel = now(self.inner.channel(name)).unwrap();
        if self.has(Bug::RemembersAllNames) {
            channel.get_or_insert_with(|| StoredChannel::new(name.clone(), None, None));
        }
        answer(Ok(channel.map(|channel| self.change(channel))))
    }

    fn channels<'a>(
        &'a self,
        after: Option<&'a ChannelName>,
        limit: usize,
    ) -> LogFuture<'a, Vec<StoredChannel>> {
        let mut page = now(self.inner.channels(after, limit)).unwrap();
        match self.bug {
            Bug::OrdersBySegments => {
                page.sort_by_key(|channel| {
                    let segments = channel.name.as_str().split('/');
                    segments.map(str::to_owned).collect::<Vec<_>>()
                });
            }
            Bug::ChannelsRepeat => {
                let last = after.and_then(|after| now(self.inner.channel(after)).unwrap());
                page.splice(0..0, last);
                page.truncate(limit.max(1));
            }
            Bug::ChannelsSkip if after.is_some() && !page.is_empty() => drop(page.remove(0)),
            Bug::ChannelsOmitEnded => page.retain(|channel| channel.end.is_none()),
            _ => {}
        }
        let page = page.into_iter().map(|channel| self.change(channel));
        answer(Ok(page.collect()))
    }

    fn append(&self, mut draft: Draft) -> LogFuture<'_, Appended> {
        match self.bug {
            Bug::AppendsWhenPolled => {
                return Box::pin(async move { self.inner.append(draft).await });
            }
            Bug::RefusesTooLate => {
                return Box::pin(async move {
                    let ends = self.inner.ends().await?;
                    if ends.iter().any(|end| end.0 == draft.channel) {
                        return Err(LogError::ended());
                    }
                    tokio::task::yield_now().await;
                    self.inner.append(draft).await
                });
            }
            Bug::AppendsTwice => drop(self.inner.append(draft.clone())),
            Bug::CutsBodies => draft.body.truncate(draft.body.len().saturating_sub(1)),
            Bug::IgnoresCase => {
                let name = draft.channel.as_str().to_lowercase();
                draft.channel = ChannelName::new(&name).unwrap();
            }
            Bug::ForgetsKeys => draft.key = None,
            Bug::TakesBodiesForKeys => {
                let key = String::from_utf8_lossy(&draft.body).into_owned();
                draft.key.get_or_insert_with(|| key.into());
            }
            _ => {}
        }
        let key = draft
            .key
            .clone()
            .filter(|_| self.has(Bug::KeepsKeysOfRefusedAppends));
        let mut refused = self.refused.lock().unwrap();
        if key.as_ref().is_some_and(|key| refused.contains(key)) {
            return answer(Ok(Appended::repeat(self.look().last.seq)));
        }
        let appended = now(self.inner.append(draft));
        if appended.is_err() {
            refused.extend(key);
        }
        if self.has(Bug::RenewsByItself) {
            now(self.inner.renew_epoch(&self.look().epoch)).unwrap();
        }
        answer(appended)
    }

    fn locate<'a>(&'a self, start: Start, scope: Scope<'a>) -> LogFuture<'a, Located> {
        let newest = self.look().newest();
        let scope = match self.bug {
            Bug::SearchIgnoresTheNewest => Scope::new(scope.patterns, &newest),
            _ => scope,
        };
        let asked = match (self.bug, start) {
            (Bug::TimeIsExclusive, Start::Time(time)) => Start::Time(time.saturating_add(1)),
            (Bug::LastGivesUp, Start::Last(count)) => Start::Last(count.min(256)),
            _ => start,
        };
        let scope = match (self.bug, start) {
            (Bug::LastIsOfTheFirstChannel, Start::Last(_)) if !scope.patterns.is_empty() => {
                Scope::new(&scope.patterns[..1], scope.newest)
            }
            _ => scope,
        };
        let located = now(self.inner.locate(asked, scope));
        answer(located.map(|located| match located {
            Located::Held { place, missed } => self.misplace(start, scope, place, missed),
            Located::Unknown { last } => self.misjudge(start, last),
        }))
    }

    fn read<'a>(&'a self, after: u64, limit: usize, scope: Scope<'a>) -> LogFuture<'a, Page> {
        let bounds = self.look();
        let newest = bounds.newest();
        let floor = bounds.floor.seq;
        let page = match self.bug {
            Bug::PageBeginsTooEarly => self.inner.read(after.saturating_sub(1), limit, scope),
            Bug::ReadIgnoresTheNewest => {
                let scope = Scope::new(scope.patterns, &newest);
                return answer(now(self.inner.read(after, limit, scope)));
            }
            Bug::ReadSkipsTheRemoved => self.inner.read(after.max(floor), limit, scope),
            Bug::ReadJudgesTheWholeLog if after < floor => {
                answer(Err(LogError::trimmed(floor + 1)))
            }
            Bug::ZeroIsNoLimit if limit == 0 => self.inner.read(after, usize::MAX, scope),
            _ => self.inner.read(after, limit, scope),
        };
        answer(now(page).map(|page| self.tear(page, after, limit, scope)))
    }

    fn tail(&self, after: &Position) -> Tail {
        let bounds = self.look();
        match self.bug {
            Bug::TailSkipsAnEntry => {
                let mut has_skipped = false;
                let batches = self.inner.tail(after).map(move |batch| {
                    let skipped = usize::from(!std::mem::replace(&mut has_skipped, true));
                    batch.map(|batch| batch[skipped..].to_vec())
                });
                let is_full = |batch: &Result<Vec<_>, _>| {
                    ready(batch.as_ref().map_or(true, |batch| !batch.is_empty()))
                };
                Box::pin(batches.filter(is_full))
            }
            Bug::TailIsNotWoken => {
                let mut inner = self.inner.tail(after);
                Box::pin(stream::poll_fn(move |_| {
                    inner.poll_next_unpin(&mut Context::from_waker(Waker::noop()))
                }))
            }
            Bug::TailChecksNothing => {
                let last = bounds.last.seq;
                let seq = after.seq.min(last);
                let is_held = seq >= bounds.floor.seq;
                let place = if is_held {
                    self.before(seq + 1)
                } else {
                    Place {
                        seq,
                        ..bounds.floor
                    }
                };
                self.inner.tail(&place.in_epoch(&bounds.epoch))
            }
            Bug::TailSkipsTheRemoved => {
                let log = self.inner.clone();
                Box::pin(self.inner.tail(after).flat_map(move |batch| match batch {
                    Err(error) if matches!(error.kind(), LogErrorKind::Trimmed { .. }) => {
                        let bounds = now(log.bounds()).unwrap();
                        log.tail(&bounds.floor.in_epoch(&bounds.epoch))
                    }
                    batch => Box::pin(stream::iter([batch])),
                }))
            }
            Bug::TailOutlivesTheEpoch => {
                Box::pin(self.inner.tail(after).flat_map(move |batch| -> Tail {
                    match batch {
                        Err(error) if error.kind() == LogErrorKind::Lost => {
                            Box::pin(stream::pending())
                        }
                        batch => Box::pin(stream::iter([batch])),
                    }
                }))
            }
            _ => self.inner.tail(after),
        }
    }

    fn renew_epoch<'a>(&'a self, expected: &'a Epoch) -> LogFuture<'a, Epoch> {
        self.was_renewed.store(true, Ordering::SeqCst);
        let epoch = self.look().epoch;
        match self.bug {
            Bug::RenewsAlways => answer(now(self.inner.renew_epoch(&epoch))),
            Bug::RenewsNever => answer(Ok(epoch)),
            _ => self.inner.renew_epoch(expected),
        }
    }
}

impl WrongLog {
    /// A channel, as the wrong log returns it.
    fn change(&self, mut channel: StoredChannel) -> StoredChannel {
        match self.bug {
            Bug::NewestIsTheEnd => {
                if let (Some(newest), Some(end)) = (&mut channel.newest, channel.end) {
                    newest.seq = end;
                }
            }
            Bug::NamesTheFirstEpoch => {
                if let (Some(newest), Some(epoch)) = (&mut channel.newest, self.first_epoch.get()) {
                    newest.epoch = epoch.clone();
                }
            }
            _ => {}
        }
        channel
    }

    /// A page, as the wrong log returns it.
    fn tear(&self, mut page: Page, after: u64, limit: usize, scope: Scope<'_>) -> Page {
        match self.bug {
            Bug::PageSkipsAnEntry if page.entries.len() > 1 => drop(page.entries.pop()),
            Bug::ReadGivesUp => {
                page.entries.retain(|entry| entry.seq <= after + 1_000);
                page.through = page.through.max(scope.newest.seq);
            }
            Bug::MeasuresTimeInSeconds => {
                page.entries
                    .iter_mut()
                    .for_each(|entry| entry.time /= 1_000_000_000);
            }
            Bug::PagesAreLarge => {
                while page.entries.len() < limit && page.through < scope.newest.seq {
                    let rest = limit - page.entries.len();
                    let next = now(self.inner.read(page.through, rest, scope)).unwrap();
                    page.entries.extend(next.entries);
                    page.through = next.through;
                }
            }
            _ => {}
        }
        page
    }

    /// The wrong log's answer about a place that it does not know.
    fn misjudge(&self, start: Start, last: u64) -> Located {
        match (self.bug, start) {
            (Bug::IgnoresChecks, Start::After(place)) if place.seq <= last => held(place, 0),
            (Bug::HoldsTheFuture, Start::After(place)) if place.seq > last => held(place, 0),
            _ => Located::Unknown { last },
        }
    }

    /// The wrong log's answer about a place, and the number of events missed there.
    fn misplace(&self, start: Start, scope: Scope<'_>, place: Place, missed: u64) -> Located {
        let (newest, floor) = (scope.newest.seq, self.look().floor);
        let names: Vec<_> = scope.patterns.iter().map(|p| p.as_str()).collect();
        match (self.bug, start) {
            (Bug::DoesNotHoldTheFuture, Start::After(asked)) if asked.seq > newest => {
                Located::Unknown { last: newest }
            }
            (Bug::SearchEndsBelowTheFloor, _) if newest < place.seq => held(
                Place {
                    seq: newest,
                    check: scope.newest.check,
                },
                missed,
            ),
            (Bug::TellsNoLoss, Start::After(asked)) => held(asked, 0),
            (Bug::CountsOneTooFew, Start::After(_)) => held(place, missed.saturating_sub(1)),
            (Bug::CountsOneTooMany, Start::After(_)) => held(place, missed + 1),
            (Bug::CountsEnds, Start::After(asked)) => {
                let ends = now(self.inner.ends()).unwrap();
                let ends = ends.iter().filter(|(name, seq)| {
                    scope.covers(name) && asked.seq < *seq && *seq <= floor.seq.min(newest)
                });
                match missed + ends.count() as u64 {
                    0 => held(place, 0),
                    missed => held(floor, missed),
                }
            }
            (Bug::CountsTheForgottenAsNone, Start::After(asked))
                if names.iter().any(|name| self.is_forgotten(name)) =>
            {
                held(asked, 0)
            }
            (Bug::CountsTheForgottenAlways, Start::After(asked)) if asked.seq < floor.seq => {
                held(floor, missed.max(1))
            }
            (Bug::CountsTheForgottenAlways, Start::Earliest) => held(place, missed.max(1)),
            (Bug::EarliestIsTheStart, Start::Earliest) => held(Place::start(), missed),
            (Bug::EarliestTellsNoLoss, Start::Earliest) => held(place, 0),
            (Bug::TimeTellsNoLoss, Start::Time(_)) => held(place, 0),
            (Bug::TimeTellsEarlierLosses, Start::Time(_)) => {
                held(place, missed.max(floor.seq.min(1)))
            }
            (Bug::LastCountsEnds, Start::Last(count)) => {
                let entries = self.held(scope);
                let oldest = entries
                    .iter()
                    .rev()
                    .filter(|e| e.seq <= newest)
                    .take(count)
                    .last();
                held(
                    oldest.map_or(place, |oldest| self.before(oldest.seq)),
                    missed,
                )
            }
            (Bug::LastMissesEvents, Start::Last(_)) => held(place, missed + 1),
            (Bug::SkipCountsOneTooFew, Start::Skip { .. }) => held(place, missed.saturating_sub(1)),
            (Bug::SkipCountsOtherChannels, Start::Skip { after, .. }) => {
                held(place, place.seq.saturating_sub(after))
            }
            (Bug::SkipCountsOnlyTheHeld, Start::Skip { after, to }) => {
                let entries = self.held(scope);
                let passed = entries.iter().filter(|entry| {
                    entry.kind == EntryKind::Event && after < entry.seq && entry.seq <= to
                });
                held(place, passed.count() as u64)
            }
            _ => held(place, missed),
        }
    }
}

fn held(place: Place, missed: u64) -> Located {
    Located::Held { place, missed }
}

/// The answer of a log that answers at once.
fn now<T>(answer: LogFuture<'_, T>) -> Result<T, LogError> {
    answer.now_or_never().unwrap()
}

fn answer<'a, T: Send + 'a>(answer: Result<T, LogError>) -> LogFuture<'a, T> {
    Box::pin(ready(answer))
}
