//! `EntryRow`: a row of the table `entries`.

use bytes::Bytes;
use rusqlite::{Connection, Row, params};
use tidings_hub::{ChannelName, Entry, EntryKind};
use tidings_proto::EntryCheck;

use crate::channel_row::ChannelId;
use crate::failure::{Failure, Outcome};
use crate::state_row::number;
use crate::sums::Sum;

/// An entry as it is stored. The channel is a number; the table `channels` has its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EntryRow {
    pub(crate) seq: u64,
    pub(crate) time: u64,
    /// The cost of all entries up to and including this one.
    pub(crate) total: u64,
    pub(crate) channel: ChannelId,
    pub(crate) kind: EntryKind,
    /// How many events its channel has up to and including this entry.
    pub(crate) nth: u64,
    pub(crate) check: EntryCheck,
    pub(crate) body: Bytes,
}

impl EntryRow {
    /// The columns that [`read`](Self::read) takes, in its order.
    pub(crate) const COLUMNS: &str = "entries.seq, entries.time, total, entries.channel, kind, \
         entries.nth, \"check\", entries.sum, body";

    /// The row of these columns, verified.
    pub(crate) fn read(row: &Row<'_>) -> Outcome<Self> {
        let (mut read, body) = Self::verified(row)?;
        // The only copy: SQLite keeps its own until the next row.
        read.body = Bytes::copy_from_slice(body);
        Ok(read)
    }

    /// The row of these columns, verified, without its body, which is returned beside it.
    pub(crate) fn verified<'r>(row: &'r Row<'_>) -> Outcome<(Self, &'r [u8])> {
        let seq = number(row, 0)?;
        let damaged = || Failure::damaged(format!("entry {seq} is not what was written"));
        let value = |column| row.get::<_, i64>(column).map_err(|_| damaged());
        let kind = match value(4)? {
            0 => EntryKind::Event,
            1 => EntryKind::End,
            _ => return Err(damaged()),
        };
        let check = row.get_ref(6)?.as_str().map_err(|_| damaged())?;
        let body = row.get_ref(8)?.as_blob().map_err(|_| damaged())?;
        let read = Self {
            seq,
            time: value(1)?.cast_unsigned(),
            total: value(2)?.cast_unsigned(),
            channel: value(3)?,
            kind,
            nth: value(5)?.cast_unsigned(),
            check: EntryCheck::new(check).map_err(|_| damaged())?,
            body: Bytes::new(),
        };
        if read.sum(body) == value(7)? {
            Ok((read, body))
        } else {
            Err(damaged())
        }
    }

    pub(crate) fn insert(&self, connection: &Connection) -> Outcome<()> {
        let mut insert = connection
            .prepare_cached("INSERT INTO entries VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")?;
        insert.execute(params![
            self.seq.cast_signed(),
            self.time.cast_signed(),
            self.total.cast_signed(),
            self.channel,
            kind_number(self.kind),
            self.nth.cast_signed(),
            self.check.as_str(),
            self.sum(&self.body),
            &self.body[..],
        ])?;
        Ok(())
    }

    /// The entry of the log, with the name of its channel.
    pub(crate) fn into_entry(self, channel: ChannelName) -> Entry {
        let mut draft = tidings_hub::Draft::event(channel, self.body);
        draft.kind = self.kind;
        Entry::new(self.seq, self.time, draft)
    }

    fn sum(&self, body: &[u8]) -> i64 {
        Sum::of("entries")
            .number(self.seq)
            .number(self.time)
            .number(self.total)
            .number(self.channel.cast_unsigned())
            .number(kind_number(self.kind).into())
            .number(self.nth)
            .text(self.check.as_str())
            .bytes(body)
            .finish()
    }
}

fn kind_number(kind: EntryKind) -> u8 {
    match kind {
        EntryKind::Event => 0,
        EntryKind::End => 1,
    }
}
