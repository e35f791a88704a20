//! The judge: whether a store keeps its promise after a crash.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use tidings_hub::{
    Bounds, ChannelName, Entry, EntryKind, Located, Log, Pattern, Place, Scope, Start,
};
use tidings_store::StoreLog;
use tidings_testkit::error_chain::chain;

use crate::ledger::{Ledger, Session};
use crate::load::{Load, Sync};

/// A store that was opened after a crash.
pub(crate) struct Crashed<'a> {
    pub(crate) load: &'a Load,
    /// The durability that was promised.
    pub(crate) sync: Sync,
    /// The reports of the children before the crash.
    pub(crate) before: &'a Ledger,
    /// The event of each number, as far as it is known, also from after the crash.
    pub(crate) by_seq: &'a BTreeMap<u64, u64>,
    pub(crate) is_power_loss: bool,
    /// Whether it is a backup. It has all events that were acknowledged before it, in another epoch.
    pub(crate) is_copy: bool,
}

/// The bounds and the entries of a store.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) bounds: Bounds,
    /// The events that are left, and their entries.
    pub(crate) entries: Vec<(u64, Entry)>,
}

macro_rules! ensure {
    ($condition:expr, $($message:tt)*) => {
        if !$condition {
            return Err(format!($($message)*));
        }
    };
}

impl Crashed<'_> {
    /// Opens the store, compares its entries with the promise, closes it, and checks its files.
    pub(crate) async fn judge(&self, path: &Path) -> Result<Held, String> {
        let log = self.load.options().open(path).map_err(|e| chain(&e))?;
        let held = self.judge_log(&log).await?;
        log.close().await.map_err(|e| chain(&e))?;
        let checked = tidings_store::check(path).map_err(|e| chain(&e))?;
        ensure!(checked.is_sound(), "{checked}");
        Ok(held)
    }

    /// Compares the entries of the store with the promise.
    pub(crate) async fn judge_log(&self, log: &StoreLog) -> Result<Held, String> {
        let held = Held::read(log).await?;
        self.compare_entries(&held)?;
        self.compare_epoch(&held)?;
        self.compare_floor(&held)?;
        self.compare_ends(log, &held).await?;
        self.compare_channels(log, &held).await?;
        Ok(held)
    }

    fn compare_entries(&self, held: &Held) -> Result<(), String> {
        let mut found = BTreeMap::new();
        for (n, entry) in &held.entries {
            let place = place(entry);
            ensure!(
                self.before.tried.contains(n),
                "event {n} was never published"
            );
            ensure!(
                found.insert(*n, place).is_none(),
                "event {n} is there twice"
            );
            ensure!(
                entry.body == self.load.body(*n) && entry.channel.as_str() == Load::channel(*n),
                "event {n} is not what was published"
            );
            let known = self.by_seq.get(&entry.seq);
            ensure!(
                known.is_none_or(|known| known == n),
                "entry {} is event {n}, and was event {known:?}",
                entry.seq
            );
        }
        for n in self.must_be_there(held) {
            let place = self.before.places[&n];
            ensure!(
                place.seq <= held.bounds.floor.seq || found.get(&n) == Some(&place),
                "event {n} was acknowledged at {place:?}, and is at {:?}; the log is {:?}",
                found.get(&n),
                held.bounds
            );
        }
        for (n, place) in &found {
            let known = self.before.places.get(n);
            ensure!(
                known.is_none_or(|known| known == place),
                "event {n} was at {known:?}, and is at {place:?}"
            );
        }
        Ok(())
    }

    /// The acknowledged events that the crash must not take.
    fn must_be_there(&self, held: &Held) -> BTreeSet<u64> {
        let is_same_epoch = self.before.epochs.last() == Some(&held.bounds.epoch);
        if self.sync == Sync::EveryCommit || !self.is_power_loss || is_same_epoch {
            self.before.places.keys().copied().collect()
        } else {
            self.before.settled.clone()
        }
    }

    fn compare_epoch(&self, held: &Held) -> Result<(), String> {
        let epoch = &held.bounds.epoch;
        let Some(last) = self.before.epochs.last() else {
            return Ok(());
        };
        let is_known = self.before.epochs.contains(epoch);
        ensure!(
            !is_known || epoch == last,
            "the epoch {epoch} is an old one"
        );
        if self.is_copy {
            ensure!(!is_known, "the backup has the epoch {epoch}");
        } else if self.sync == Sync::EveryCommit {
            ensure!(is_known, "the epoch {last} has changed to {epoch}");
        } else if self.before.session == Session::Used {
            ensure!(!is_known, "the epoch {epoch} has not changed");
        }
        Ok(())
    }

    /// Compares the floor: no entry was removed too early.
    fn compare_floor(&self, held: &Held) -> Result<(), String> {
        let Bounds { floor, last, .. } = &held.bounds;
        let is_full = self.load.max_events == Some(last.seq - floor.seq);
        ensure!(
            floor.seq == 0 || floor.seq < self.before.trimmed || is_full,
            "the retention has removed too much: {:?}",
            held.bounds
        );
        Ok(())
    }

    /// Compares the ends, which the store remembers even if the entries of their channels were removed.
    async fn compare_ends(&self, log: &StoreLog, held: &Held) -> Result<(), String> {
        let ends = log.ends().await.map_err(|e| chain(&e))?;
        let ends: BTreeMap<_, _> = ends.into_iter().collect();
        for n in self
            .must_be_there(held)
            .into_iter()
            .filter(|n| Load::is_end(*n))
        {
            let channel = ChannelName::new(Load::channel(n)).unwrap();
            let end = ends.get(&channel);
            ensure!(
                end == Some(&self.before.places[&n].seq),
                "the end of {channel} is {end:?}, and was {:?}",
                self.before.places[&n]
            );
        }
        for (_, entry) in &held.entries {
            let is_end = entry.kind == EntryKind::End;
            ensure!(
                !is_end || ends.contains_key(&entry.channel),
                "{} has no end",
                entry.channel
            );
        }
        Ok(())
    }

    /// Compares the index by channel with the entries.
    async fn compare_channels(&self, log: &StoreLog, held: &Held) -> Result<(), String> {
        let newest = held.bounds.newest();
        let mut channels: BTreeSet<_> = held
            .entries
            .iter()
            .map(|(_, entry)| entry.channel.clone())
            .collect();
        channels.extend(ChannelName::new("room/0"));
        for channel in channels {
            let patterns = [Pattern::from(channel.clone())];
            let scope = Scope::new(&patterns, &newest);
            let of_channel = held.entries.iter().map(|(_, entry)| entry);
            let of_channel = of_channel.filter(|entry| entry.channel == channel);
            let expected: Vec<_> = of_channel.cloned().collect();
            let read = read_all(log, held.bounds.floor.seq, scope).await?;
            ensure!(read == expected, "the index of {channel} is wrong");
            let located = log.locate(Start::After(Place::start()), scope).await;
            let Located::Held { missed, .. } = located.map_err(|e| chain(&e))? else {
                return Err("the beginning of the log is unknown".to_owned());
            };
            self.compare_missed(&channel, missed, held)?;
        }
        Ok(())
    }

    fn compare_missed(
        &self,
        channel: &ChannelName,
        missed: u64,
        held: &Held,
    ) -> Result<(), String> {
        let floor = held.bounds.floor.seq;
        let removed = self.by_seq.range(..=floor);
        let of_channel = removed
            .clone()
            .filter(|(_, n)| Load::channel(**n) == channel.as_str() && !Load::is_end(**n));
        let (known, least) = (removed.count() as u64, of_channel.count() as u64);
        ensure!(
            (least..=least + floor - known).contains(&missed),
            "{missed} events of {channel} were removed, not {least}"
        );
        Ok(())
    }
}

impl Held {
    pub(crate) async fn read(log: &StoreLog) -> Result<Self, String> {
        let bounds = log.bounds().await.map_err(|e| chain(&e))?;
        let newest = bounds.newest();
        let entries = read_all(log, bounds.floor.seq, Scope::all(&newest)).await?;
        let mut next = bounds.floor.seq;
        let mut held = Vec::new();
        for entry in entries {
            next += 1;
            ensure!(
                entry.seq == next,
                "entry {} follows entry {}",
                entry.seq,
                next - 1
            );
            let n = match entry.kind {
                EntryKind::Event => Load::number(&entry.body),
                EntryKind::End => Load::end_of(entry.channel.as_str()),
            };
            let n = n.ok_or_else(|| format!("entry {next} was never published"))?;
            held.push((n, entry));
        }
        ensure!(
            next == bounds.last.seq,
            "the last entry is {next}, not {:?}",
            bounds.last
        );
        let entries = held;
        Ok(Self { bounds, entries })
    }

    /// Adds the epoch and the places of the entries to a ledger.
    pub(crate) fn note(&self, ledger: &mut Ledger) -> Result<(), String> {
        ledger.see_epoch(&self.bounds.epoch);
        for (n, entry) in &self.entries {
            ledger.see(*n, place(entry))?;
        }
        Ok(())
    }
}

fn place(entry: &Entry) -> Place {
    Place {
        seq: entry.seq,
        check: entry.check(),
    }
}

async fn read_all(log: &StoreLog, after: u64, scope: Scope<'_>) -> Result<Vec<Entry>, String> {
    let mut entries = Vec::new();
    let mut after = after;
    while after < scope.newest.seq {
        let page = log.read(after, 500, scope).await.map_err(|e| chain(&e))?;
        ensure!(
            page.through > after,
            "a page after {after} ends at {}",
            page.through
        );
        after = page.through;
        entries.extend(page.entries);
    }
    Ok(entries)
}
