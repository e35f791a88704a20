//! `Commit`: one transaction of the writer.

use std::collections::{BTreeSet, HashMap};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use rusqlite::{Connection, params};
use tidings_hub::{Appended, ChannelName, Draft, Entry, EntryKind, LogError};

use super::Settings;
use super::budget::Budget;
use super::channels::{ChannelState, Channels};
use super::head::{Head, Newest};
use super::pauses::Pauses;
use super::retention::{Held, Oldest, is_over};
use super::sweep::Sweep;
use super::upkeep::Upkeep;
use crate::channel_row::{ChannelId, ChannelRow};
use crate::entry_row::EntryRow;
use crate::failure::{Failure, Outcome};
use crate::index_row::IndexRow;
use crate::keys::{KeyHash, KeyRow, Keys, MAX_KEYS};
use crate::recent_index::RecentIndex;

/// How many entries a transaction removes, besides two for each append, before it looks at the time.
const UNTIMED: u64 = 256;

/// How many expired keys a transaction forgets, besides two for each append; and how many one without appends
/// forgets.
const KEYS: usize = 64;
const IDLE_KEYS: usize = 1_024;

/// A transaction that is being written. What the writer knows does not change before it is committed, except
/// for caches of what is on the disk.
pub(super) struct Commit<'a> {
    pub(super) connection: &'a Connection,
    pub(super) index: &'a RwLock<RecentIndex>,
    pub(super) settings: &'a Settings,
    pub(super) channels: &'a mut Channels,
    pub(super) keys: &'a Keys,
    pub(super) oldest: &'a mut Oldest,
    pub(super) removed: &'a BTreeSet<ChannelId>,
    pub(super) sweep: Option<&'a Sweep>,
    pub(super) pauses: &'a Pauses,
    pub(super) now: u64,
    pub(super) staged: Staged,
}

/// What a transaction changes.
pub(super) struct Staged {
    pub(super) head: Head,
    pub(super) entries: Vec<Entry>,
    pub(super) rows: Vec<IndexRow>,
    pub(super) channels: HashMap<ChannelName, ChannelState>,
    /// The newest entry of each channel that has a new one.
    pub(super) newest: HashMap<ChannelId, u64>,
    pub(super) keys: Vec<KeyRow>,
    pub(super) keys_by_hash: HashMap<KeyHash, u64>,
    /// How many of the oldest keys are forgotten, and the number of the last one of them.
    pub(super) expired: Option<(usize, u64)>,
    /// The rows of all keys that are or were forgotten have been deleted.
    pub(super) has_deleted_keys: bool,
    /// The channels of the entries that were removed.
    pub(super) removed: Vec<ChannelId>,
    pub(super) forgotten: Vec<ChannelName>,
    pub(super) swept: Swept,
    /// The upkeep that was left out, because something that it reads is damaged.
    pub(super) failed: Vec<(Upkeep, Failure)>,
    /// What is being done.
    pub(super) work: Work,
}

/// The part of a transaction in which a failure occurs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    Append,
    Upkeep(Upkeep),
    /// The beginning, the row of the state, and the end, which all parts need.
    Frame,
}

/// Which sweep a transaction has finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Swept {
    None,
    /// The one in progress.
    Finished,
    /// One of everything up to the newest entry, which it has begun too.
    AtOnce,
}

impl Staged {
    pub(super) fn new(head: Head) -> Self {
        Self {
            head,
            entries: Vec::new(),
            rows: Vec::new(),
            channels: HashMap::new(),
            newest: HashMap::new(),
            keys: Vec::new(),
            keys_by_hash: HashMap::new(),
            expired: None,
            has_deleted_keys: false,
            removed: Vec::new(),
            forgotten: Vec::new(),
            swept: Swept::None,
            failed: Vec::new(),
            work: Work::Frame,
        }
    }
}

impl Commit<'_> {
    /// Appends an entry, unless the log's answer is another one. A failure is one of the whole transaction.
    pub(super) fn append(&mut self, draft: Draft) -> Outcome<Result<Appended, LogError>> {
        let key = draft.key.as_deref();
        let key = key.map(|key| self.keys.hash(&draft.channel, key));
        if let Some(seq) = key.and_then(|key| self.seq_of(key)) {
            return Ok(Ok(Appended::repeat(seq)));
        }
        let channel = match self.channel(&draft.channel) {
            Err(Failure::Damaged(what)) => return Ok(Err(LogError::refused(what))),
            found => found?,
        };
        if channel.is_some_and(|channel| channel.end.is_some()) {
            return Ok(Err(LogError::ended()));
        }
        if key.is_some() && self.keys_len() >= MAX_KEYS {
            let text = format!(
                "the store remembers {MAX_KEYS} keys and accepts no more for up to 2 minutes"
            );
            return Ok(Err(LogError::refused(text)));
        }
        let seq = self.store(channel, draft)?;
        if let Some(key) = key {
            let row = KeyRow::new(seq, key, self.now);
            row.insert(self.connection)?;
            self.staged.keys.push(row);
            self.staged.keys_by_hash.insert(key, seq);
        }
        Ok(Ok(Appended::new(seq)))
    }

    fn keys_len(&self) -> usize {
        let expired = self.staged.expired.map_or(0, |(count, _)| count);
        self.keys.len() - expired + self.staged.keys.len()
    }

    /// The number of the append with this key.
    fn seq_of(&self, key: KeyHash) -> Option<u64> {
        let staged = self.staged.keys_by_hash.get(&key).copied();
        staged.or_else(|| self.keys.get(key, self.now))
    }

    fn channel(&mut self, name: &ChannelName) -> Outcome<Option<ChannelState>> {
        if let Some(state) = self.staged.channels.get(name) {
            return Ok(Some(*state));
        }
        if let Some(state) = self.channels.get(name) {
            return Ok(Some(state));
        }
        let Some(row) = ChannelRow::find(self.connection, name)? else {
            return Ok(None);
        };
        let newest = self.newest_row(row.id)?;
        let state = ChannelState {
            id: row.id,
            known_since: row.known_since,
            end: row.end,
            newest: newest.seq,
            events: newest.nth,
        };
        self.channels.set(name.clone(), state);
        Ok(Some(state))
    }

    /// The newest index row of a channel that has no new entry in this transaction.
    fn newest_row(&self, channel: ChannelId) -> Outcome<IndexRow> {
        if let Some(row) = read(self.index).newest_of(channel) {
            return Ok(row);
        }
        let newest = self.last_rows(channel, u64::MAX >> 1, 1)?;
        // The next row may be a damaged one of this channel.
        let mut select = self.connection.prepare_cached(
            "SELECT channel, seq, nth, time, sum FROM places WHERE channel > ?1 \
             ORDER BY channel, seq LIMIT 1",
        )?;
        let mut rows = select.query([channel])?;
        rows.next()?.map(IndexRow::read).transpose()?;
        let missing = || Failure::damaged(format!("channel {channel} has no entry"));
        newest.first().copied().ok_or_else(missing)
    }

    /// The newest index rows of a channel on the disk up to this number, newest first.
    pub(super) fn last_rows(
        &self,
        channel: ChannelId,
        seq: u64,
        limit: u8,
    ) -> Outcome<Vec<IndexRow>> {
        let mut select = self.connection.prepare_cached(
            "SELECT channel, seq, nth, time, sum FROM places WHERE channel = ?1 AND seq <= ?2 \
             ORDER BY seq DESC LIMIT ?3",
        )?;
        let mut rows = select.query(params![channel, seq.cast_signed(), limit])?;
        let mut found = Vec::with_capacity(limit.into());
        while let Some(row) = rows.next()? {
            found.push(IndexRow::read(row)?);
        }
        Ok(found)
    }

    fn store(&mut self, channel: Option<ChannelState>, draft: Draft) -> Outcome<u64> {
        let seq = self.staged.head.last() + 1;
        let is_new = channel.is_none();
        let mut channel = channel.unwrap_or_else(|| self.new_channel());
        if !is_new && channel.newest <= self.staged.head.floor() {
            self.return_from_gone(channel.newest)?;
        }
        channel.newest = seq;
        match draft.kind {
            EntryKind::Event => channel.events += 1,
            EntryKind::End => channel.end = Some(seq),
        }
        if is_new || channel.end.is_some() {
            channel.row(draft.channel.clone()).write(self.connection)?;
        }
        self.insert(&channel, draft)?;
        Ok(seq)
    }

    fn new_channel(&mut self) -> ChannelState {
        let head = &mut self.staged.head;
        let id = head.next_channel;
        head.next_channel += 1;
        ChannelState {
            id,
            known_since: head.state.forgotten_through,
            end: None,
            newest: 0,
            events: 0,
        }
    }

    /// A channel whose newest entry has this number, and which has no end, has a new entry.
    fn return_from_gone(&mut self, newest: u64) -> Outcome<()> {
        let mut delete = self
            .connection
            .prepare_cached("DELETE FROM gone WHERE is_ended = 0 AND seq = ?1")?;
        let deleted = delete.execute([newest.cast_signed()])?;
        self.staged.head.gone[0] -= deleted as u64;
        Ok(())
    }

    fn insert(&mut self, channel: &ChannelState, draft: Draft) -> Outcome<()> {
        let staged = &mut self.staged;
        let last = staged.head.last;
        // The clock does not go back, but it may begin again after the log was opened.
        let entry = Entry::new(channel.newest, self.now.max(last.time), draft);
        let row = EntryRow {
            seq: entry.seq,
            time: entry.time,
            total: last.total + entry.cost(),
            channel: channel.id,
            kind: entry.kind,
            nth: channel.events,
            check: entry.check(),
            body: entry.body.clone(),
        };
        row.insert(self.connection)?;
        let held = Held::of(&row);
        self.oldest.push(held);
        staged.head.last = Newest {
            place: held.place,
            time: held.time,
            total: held.total,
        };
        staged.rows.push(IndexRow {
            channel: channel.id,
            seq: row.seq,
            nth: row.nth,
            time: row.time,
        });
        staged.newest.insert(channel.id, row.seq);
        staged.channels.insert(entry.channel.clone(), *channel);
        staged.entries.push(entry);
        Ok(())
    }

    /// Removes at most so many of the oldest entries that exceed the retention, or are before `first`. The
    /// time of the budget does not limit the first ones.
    pub(super) fn remove_old(&mut self, first: u64, limit: u64, budget: &Budget) -> Outcome<()> {
        let untimed = UNTIMED + 2 * self.staged.entries.len() as u64;
        let mut newest = None;
        for count in 0..limit {
            let head = &mut self.staged.head;
            if head.held() <= 1 || (count >= untimed && budget.is_spent()) {
                break;
            }
            let oldest = self.oldest.first(self.connection, head.floor() + 1)?;
            oldest.verify_order(head)?;
            let is_trimmed = oldest.place.seq < first;
            if !is_trimmed && !is_over(self.settings.retention, head, &oldest, self.now) {
                break;
            }
            if oldest.kind == EntryKind::Event {
                let removed = &mut head.state.removed;
                removed.count += 1;
                (removed.seq, removed.time) = (oldest.place.seq, oldest.time);
            }
            head.state.floor = oldest.floor();
            self.staged.removed.push(oldest.channel);
            newest = Some(oldest);
        }
        // Clients are told this place. All columns but the sum are in the read-ahead.
        match newest {
            Some(newest) if !newest.is_verified => newest.verify(self.connection),
            _ => Ok(()),
        }
    }

    /// Does a part of the transaction, and keeps which one it was if that fails.
    pub(super) fn within<T>(
        &mut self,
        work: Work,
        part: impl FnOnce(&mut Self) -> Outcome<T>,
    ) -> Outcome<T> {
        self.staged.work = work;
        let done = part(self)?;
        self.staged.work = Work::Frame;
        Ok(done)
    }

    /// Forgets some expired keys, and deletes as many rows of such keys: more than the transaction adds with
    /// so many appends. During a pause the rows stay, and are deleted later.
    pub(super) fn expire_keys(&mut self, appends: usize) -> Outcome<()> {
        let limit = match appends {
            0 => IDLE_KEYS,
            _ => KEYS + 2 * appends,
        };
        self.staged.expired = self.keys.expired(self.now, limit);
        let expired = self.staged.expired.map(|(_, seq)| seq);
        match expired.or(self.keys.left()) {
            Some(seq) if !self.pauses.is_paused(Upkeep::Keys) => {
                self.within(Work::Upkeep(Upkeep::Keys), |commit| {
                    let deleted = KeyRow::delete_through(commit.connection, seq, limit)?;
                    commit.staged.has_deleted_keys = deleted < limit;
                    Ok(())
                })
            }
            _ => Ok(()),
        }
    }
}

pub(super) fn read(index: &RwLock<RecentIndex>) -> RwLockReadGuard<'_, RecentIndex> {
    index.read().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn write(index: &RwLock<RecentIndex>) -> RwLockWriteGuard<'_, RecentIndex> {
    index.write().unwrap_or_else(PoisonError::into_inner)
}
