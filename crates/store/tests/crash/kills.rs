//! Kills: processes that SIGKILL ends at a random moment.

use std::time::Duration;

use fastrand::Rng;
use tidings_hub::{
    ChannelEvent, ChannelEvents, EntryKind, Gap, GapReason, Hub, Log, Place, SubscribeErrorKind,
};
use tidings_proto::{EventId, Position};
use tidings_store::StoreLog;
use tidings_testkit::error_chain::chain;
use tidings_testkit::property::{seed, steps};
use tidings_testkit::timeout::timeout;
use tokio::runtime;

use crate::folder::Folder;
use crate::judge::{Crashed, Held};
use crate::ledger::{Ledger, Said, Session};
use crate::load::{BLOCK, End, Load, Sync};
use crate::process::{Running, no_starts};

/// How often the children of one store are killed.
const ROUNDS_OF_A_STORE: usize = 25;

const LIMIT: Duration = Duration::from_secs(60);

/// A store that outlives its processes.
struct Survivor {
    load: Load,
    _folder: Folder,
    rng: Rng,
    ledger: Ledger,
    /// The last event that a client has received.
    client: Option<Position>,
}

impl Survivor {
    fn new(sync: Sync, seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let folder = Folder::new();
        let is_small = rng.bool();
        let load = Load {
            path: folder.store(),
            sync,
            max_events: is_small.then(|| rng.u64(20..400)),
            index_batch: rng.usize(1..200),
            checkpoint_pages: rng.u32(1..400),
            first: 0,
            sessions: 1,
            blocks: 60,
            publishers: rng.usize(1..16),
            is_large: false,
            trims: rng.bool(),
            maintains: false,
            end: End::Wait,
        };
        Self {
            load,
            _folder: folder,
            rng,
            ledger: Ledger::default(),
            client: None,
        }
    }

    /// Starts a child, kills it, and compares the store that is left.
    async fn round(&mut self) -> Result<(), String> {
        let said = self.kill_one();
        self.add(&said)?;
        if self.rng.u8(..3) == 0 {
            // The second child is killed while it opens the store that the first one has left.
            let moment = Duration::from_micros(self.rng.u64(5_000..40_000));
            let mut child = self.start();
            child.wait_for_time(moment);
            self.add(&child.kill())?;
        }
        let no_starts = no_starts();
        let options = self.load.options();
        let log = options.open(&self.load.path).map_err(|e| chain(&e))?;
        let by_seq = self.ledger.by_seq()?;
        let crashed = Crashed {
            load: &self.load,
            sync: self.load.sync,
            before: &self.ledger,
            by_seq: &by_seq,
            is_power_loss: false,
            is_copy: false,
        };
        let held = crashed.judge_log(&log).await?;
        held.note(&mut self.ledger)?;
        self.resume(&log, &held).await?;
        self.repeat(&log, &said).await?;
        log.close().await.map_err(|e| chain(&e))?;
        drop(no_starts);
        self.ledger.settle();
        self.ledger.session = Session::None;
        Ok(())
    }

    fn kill_one(&mut self) -> Vec<Said> {
        let mut child = self.start();
        match self.rng.u8(..4) {
            0 => child.wait_for_time(Duration::from_micros(self.rng.u64(..60_000))),
            1 => child.wait_for_lines(self.rng.usize(1..40)),
            _ => {
                child.wait_for_lines(self.rng.usize(1..500));
                child.wait_for_time(Duration::from_micros(self.rng.u64(..4_000)));
            }
        }
        child.kill()
    }

    /// A child with events that no child before has published.
    fn start(&mut self) -> Running {
        let child = Running::start(&(&self.load).into());
        self.load.first += self.load.blocks * BLOCK;
        child
    }

    fn add(&mut self, said: &[Said]) -> Result<(), String> {
        said.iter().try_for_each(|said| self.ledger.add(said))
    }

    /// The client of earlier rounds receives what follows, or a gap that is true.
    async fn resume(&mut self, log: &StoreLog, held: &Held) -> Result<(), String> {
        let missed = self.missed(held)?;
        let after = match &self.client {
            Some(client) if missed != Missed::Epoch => client.seq.max(held.bounds.floor.seq),
            _ => held.bounds.floor.seq,
        };
        let rest = held.entries.iter().filter(|(_, entry)| entry.seq > after);
        let rest = rest.filter(|(_, entry)| entry.kind == EntryKind::Event);
        let rest: Vec<_> = rest.map(|(n, entry)| (*n, entry.seq)).collect();

        let hub = Hub::over(log.clone());
        let id = self.client.as_ref().map(EventId::from);
        let subscription = hub.subscribe_all(["room/*", "brief/*"]).earliest();
        let events = subscription.events_after(id.as_ref());
        let has_gap = matches!(missed, Missed::Epoch | Missed::Some);
        let received = timeout(LIMIT, receive(&hub, events, rest.len(), has_gap)).await;
        let received = received.map_err(|_| format!("a client waits for {rest:?}"))?;
        let (gap, received) = received?;

        let numbers: Vec<_> = received
            .iter()
            .map(|(n, position)| (*n, position.seq))
            .collect();
        if numbers != rest {
            return Err(format!("a client received {numbers:?}, not {rest:?}"));
        }
        let is_true = match gap.as_ref().map(|gap| gap.reason) {
            None => matches!(missed, Missed::Nothing | Missed::Unknown),
            Some(GapReason::Epoch) => missed == Missed::Epoch,
            Some(GapReason::Trimmed) => matches!(missed, Missed::Some | Missed::Unknown),
            _ => false,
        };
        if !is_true {
            return Err(format!("missed is {missed:?}, and the gap is {gap:?}"));
        }
        if let Some((_, last)) = received.last() {
            self.client = Some(last.clone());
        }
        Ok(())
    }

    /// The events that the client of earlier rounds misses.
    fn missed(&self, held: &Held) -> Result<Missed, String> {
        let floor = held.bounds.floor.seq;
        let after = match &self.client {
            Some(client) if client.epoch != held.bounds.epoch => return Ok(Missed::Epoch),
            client => client.as_ref().map_or(0, |client| client.seq),
        };
        let by_seq = self.ledger.by_seq()?;
        let mut removed = (after + 1..=floor).map(|seq| by_seq.get(&seq));
        Ok(if removed.clone().flatten().any(|n| !Load::is_end(*n)) {
            Missed::Some
        } else if removed.any(|n| n.is_none()) {
            Missed::Unknown
        } else {
            Missed::Nothing
        })
    }

    /// A repeat of a key appends nothing if the store holds the event, and otherwise stores it once.
    async fn repeat(&mut self, log: &StoreLog, said: &[Said]) -> Result<(), String> {
        let hub = Hub::over(log.clone());
        let tried = said.iter().rev().filter_map(|said| match said {
            Said::Tries(n) => Some(*n),
            _ => None,
        });
        for n in tried.take(12) {
            let Some(key) = Load::key(n) else {
                continue;
            };
            let event = tidings_hub::Event::new(self.load.text(n));
            let publish = hub.publish(Load::channel(n), event).key(key);
            let published = timeout(LIMIT, publish).await;
            let published = published.map_err(|_| "a publisher waits".to_owned())?;
            let position = published.map_err(|e| chain(&e))?;
            let mut place = Place::from(&position);
            // The check of an entry that was removed is not known any more.
            if let Some(known) = self.ledger.places.get(&n)
                && known.seq < log.bounds().await.map_err(|e| chain(&e))?.floor.seq
            {
                place.check = known.check;
            }
            self.ledger.see(n, place)?;
        }
        // It fails if two events have one number.
        self.ledger.by_seq().map(drop)
    }
}

type Received = (Option<Gap>, Vec<(u64, Position)>);

/// The events that a resuming client misses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missed {
    Nothing,
    Some,
    /// Entries were removed that nobody has seen. They may have been ends.
    Unknown,
    /// Its position is of another epoch.
    Epoch,
}

/// Reads this many events and the gap, and then all events until the hub is drained.
async fn receive(
    hub: &Hub,
    mut events: ChannelEvents,
    count: usize,
    has_gap: bool,
) -> Result<Received, String> {
    let (mut gap, mut received) = (None, Vec::new());
    while received.len() < count || (has_gap && gap.is_none()) {
        let next = events.next().await.ok_or("the stream has ended")?;
        take(&next.map_err(|e| chain(&e))?, &mut gap, &mut received)?;
    }
    let (mut next, ()) = tokio::join!(events.next(), hub.drain());
    loop {
        match next {
            Some(Ok(event)) => take(&event, &mut gap, &mut received)?,
            Some(Err(error)) if error.kind() != SubscribeErrorKind::Draining => {
                return Err(chain(&error));
            }
            _ => return Ok((gap, received)),
        }
        next = events.next().await;
    }
}

fn take(
    next: &ChannelEvent,
    gap: &mut Option<Gap>,
    received: &mut Vec<(u64, Position)>,
) -> Result<(), String> {
    if let Some(found) = Gap::from_event(&next.event) {
        if gap.is_some() || !received.is_empty() {
            return Err(format!("a second or late gap: {found:?}"));
        }
        *gap = Some(found);
        return Ok(());
    }
    let body = format!("data: {}", next.event.text());
    let number = Load::number(body.as_bytes());
    if let (Some(n), Some(id)) = (number, &next.event.id) {
        received.push((n, id.as_str().parse().unwrap()));
    }
    Ok(())
}

fn kill(sync: Sync, rounds: usize) {
    let seed = seed();
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (mut tried, mut acknowledged) = (0, 0);
    for store in 0..rounds.div_ceil(ROUNDS_OF_A_STORE) {
        let mut survivor = Survivor::new(sync, seed + store as u64);
        for round in 0..ROUNDS_OF_A_STORE.min(rounds - store * ROUNDS_OF_A_STORE) {
            let done = runtime.block_on(survivor.round());
            if let Err(error) = done {
                panic!("store {store}, round {round}: {error}; {:?}", survivor.load);
            }
        }
        tried += survivor.ledger.tried.len();
        acknowledged += survivor.ledger.places.len();
    }
    eprintln!(
        "{rounds} kills: {tried} events were published, and {acknowledged} acknowledged or found"
    );
    assert!(acknowledged > rounds * 10 && tried >= acknowledged);
}

#[test]
fn a_kill_takes_nothing_and_the_epoch_stays() {
    kill(Sync::EveryCommit, steps(200));
}

#[test]
fn a_kill_of_a_store_that_writes_later_takes_nothing_and_changes_the_epoch() {
    kill(Sync::Interval, steps(200));
}
