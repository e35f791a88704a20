//! `Oldest`: the oldest entries of the log, read ahead for the retention.

use std::collections::VecDeque;
use std::sync::LazyLock;

use rusqlite::{Connection, Row};
use tidings_hub::{EntryKind, Place, Retention};
use tidings_proto::EntryCheck;

use super::head::Head;
use crate::channel_row::ChannelId;
use crate::clock::nanos;
use crate::entry_row::EntryRow;
use crate::failure::{Failure, Outcome};
use crate::state_row::{Floor, number};

/// How many entries are read at once, and how many new ones are kept at most.
const AHEAD: usize = 64;
const KEPT: usize = 1_024;

static SELECT_ONE: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {} FROM entries WHERE seq = ?1", EntryRow::COLUMNS));

/// What the retention must know of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) place: Place,
    pub(super) time: u64,
    pub(super) total: u64,
    pub(super) channel: ChannelId,
    pub(super) kind: EntryKind,
    /// Whether it is known that these are the values that were written.
    pub(super) is_verified: bool,
}

impl Held {
    fn read(row: &Row<'_>) -> Outcome<Self> {
        let seq = number(row, 0)?;
        let damaged = || Failure::damaged(format!("entry {seq} is not what was written"));
        let check = row.get_ref(5)?.as_str().map_err(|_| damaged())?;
        let check = EntryCheck::new(check).map_err(|_| damaged())?;
        let kind = match row.get(4)? {
            0 => EntryKind::Event,
            1 => EntryKind::End,
            _ => return Err(damaged()),
        };
        Ok(Self {
            place: Place { seq, check },
            time: number(row, 1)?,
            total: number(row, 2)?,
            channel: row.get(3)?,
            kind,
            // Its body would have to be read for this.
            is_verified: false,
        })
    }

    pub(super) fn of(row: &EntryRow) -> Self {
        Self {
            place: Place {
                seq: row.seq,
                check: row.check,
            },
            time: row.time,
            total: row.total,
            channel: row.channel,
            kind: row.kind,
            is_verified: true,
        }
    }

    /// Fails if it cannot be between the floor and the newest entry.
    pub(super) fn verify_order(&self, head: &Head) -> Outcome<()> {
        let (floor, last) = (head.state.floor, head.last);
        let is_in_order = floor.total < self.total
            && self.total <= last.total
            && floor.time <= self.time
            && self.time <= last.time;
        if is_in_order {
            Ok(())
        } else {
            Err(self.damaged())
        }
    }

    /// Fails if it is not what was written.
    pub(super) fn verify(&self, connection: &Connection) -> Outcome<()> {
        let mut select = connection.prepare_cached(&SELECT_ONE)?;
        let mut rows = select.query([self.place.seq.cast_signed()])?;
        let row = rows.next()?.ok_or_else(|| self.damaged())?;
        EntryRow::verified(row).map(drop)
    }

    fn damaged(&self) -> Failure {
        let seq = self.place.seq;
        Failure::damaged(format!("entry {seq} is not what was written"))
    }

    /// The floor after it was removed.
    pub(super) fn floor(&self) -> Floor {
        Floor {
            place: self.place,
            time: self.time,
            total: self.total,
        }
    }
}

/// A part of the oldest entries, without holes. It is only a cache: after a transaction that failed, it is
/// [cleared](Self::clear).
#[derive(Debug, Default)]
pub(super) struct Oldest(VecDeque<Held>);

impl Oldest {
    /// The entry with this number, which is the oldest one and exists.
    pub(super) fn first(&mut self, connection: &Connection, seq: u64) -> Outcome<Held> {
        while self.0.front().is_some_and(|held| held.place.seq < seq) {
            self.0.pop_front();
        }
        match self.0.front() {
            Some(held) if held.place.seq == seq => Ok(*held),
            _ => self.read(connection, seq),
        }
    }

    fn read(&mut self, connection: &Connection, seq: u64) -> Outcome<Held> {
        self.0.clear();
        let mut select = connection.prepare_cached(
            r#"SELECT seq, time, total, channel, kind, "check" FROM entries WHERE seq >= ?1 ORDER BY seq LIMIT ?2"#,
        )?;
        let mut rows = select.query([seq.cast_signed(), AHEAD as i64])?;
        let mut next = seq;
        while let Some(row) = rows.next()? {
            let held = Held::read(row)?;
            if held.place.seq != next {
                break;
            }
            next += 1;
            self.0.push_back(held);
        }
        let first = self.0.front().copied();
        first.ok_or_else(|| Failure::damaged(format!("entry {seq} is missing")))
    }

    /// Takes a new entry, if all entries before it are here.
    pub(super) fn push(&mut self, held: Held) {
        let is_next = self
            .0
            .back()
            .is_some_and(|newest| newest.place.seq + 1 == held.place.seq);
        if is_next && self.0.len() < KEPT {
            self.0.push_back(held);
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

/// Whether the log must remove its oldest entry.
pub(super) fn is_over(retention: Retention, head: &Head, oldest: &Held, now: u64) -> bool {
    is_too_large(retention, head) || expiry(retention, oldest).is_some_and(|expiry| expiry < now)
}

/// Whether the log holds too many entries or bytes.
pub(super) fn is_too_large(retention: Retention, head: &Head) -> bool {
    let bytes = head.last.total - head.state.floor.total;
    bytes > retention.max_bytes || retention.max_events.is_some_and(|most| head.held() > most)
}

/// The last moment at which the log may hold an entry.
pub(super) fn expiry(retention: Retention, held: &Held) -> Option<u64> {
    let age = nanos(retention.max_age?);
    Some(held.time.saturating_add(age))
}
