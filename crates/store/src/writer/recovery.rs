//! The recovery of a writer: what it must know of a log, read from the disk.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension};

use super::channels::Channels;
use super::head::{Head, Newest};
use super::pauses::Pauses;
use super::retention::Oldest;
use super::sweep::Cursor;
use super::{Recovered, Writer};
use crate::channel_row::ChannelId;
use crate::clock::Clock;
use crate::entry_row::EntryRow;
use crate::failure::{Failure, Outcome};
use crate::index_row::IndexRow;
use crate::keys::Keys;
use crate::recent_entries::RecentEntries;
use crate::recent_index::RecentIndex;
use crate::shared::Published;
use crate::state_row::{StoreState, number};

pub(super) fn recover(connection: Connection, state: StoreState) -> Outcome<Recovered> {
    let last = newest(&connection, &state)?;
    let recent_index = recent_index(&connection, &state, last.place.seq)?;
    let published = Published {
        epoch: state.epoch.clone(),
        floor: state.floor.place,
        last: last.place,
        ends_since: state.ends_since,
        recent: RecentEntries::new(last.place.seq),
        failure: None,
    };
    let removed = removed(&connection, &state)?;
    let writer = Writer {
        channels: Channels::default(),
        // The time never decreases, so what had expired then has expired now.
        keys: Keys::recover(&connection, state.secret, last.time)?,
        oldest: Oldest::default(),
        must_sweep: !removed.is_empty(),
        removed,
        head: Head {
            last,
            next_channel: next_channel(&connection)?,
            gone: [gone(&connection, false)?, gone(&connection, true)?],
            first_row: first_row(&connection)?,
            cursor: Cursor::default(),
            state,
        },
        sweep: None,
        pauses: Pauses::default(),
        sync: None,
        clock: Clock::of_machine(last.time),
        connection,
    };
    Ok(Recovered {
        recent_index,
        published,
        writer,
    })
}

fn newest(connection: &Connection, state: &StoreState) -> Outcome<Newest> {
    let sql = format!(
        "SELECT {} FROM entries ORDER BY seq DESC LIMIT 1",
        EntryRow::COLUMNS
    );
    let newest = connection.query_row(&sql, [], |row| Ok(EntryRow::read(row)));
    let floor = state.floor;
    let newest = match newest.optional()?.transpose()? {
        Some(row) => Newest {
            place: tidings_hub::Place {
                seq: row.seq,
                check: row.check,
            },
            time: row.time,
            total: row.total,
        },
        None if floor.place.seq == 0 => Newest {
            place: floor.place,
            time: floor.time,
            total: floor.total,
        },
        None => return Err(Failure::damaged("the newest entry is missing")),
    };
    let (last, floor) = (newest.place.seq, floor.place.seq);
    let is_valid = if last == 0 { floor == 0 } else { floor < last };
    if is_valid
        && state.swept <= floor
        && state.indexed <= last
        && newest.total >= state.floor.total
    {
        Ok(newest)
    } else {
        Err(Failure::damaged(format!(
            "the newest entry is {last}, but entries up to {floor} were removed, and entries up to {} are in the \
             index",
            state.indexed
        )))
    }
}

/// The index of the entries after `state.indexed`, which must be all there.
fn recent_index(connection: &Connection, state: &StoreState, last: u64) -> Outcome<RecentIndex> {
    let mut index = RecentIndex::new(state.indexed);
    each(connection, state.indexed, last, |row| {
        index.push(IndexRow {
            channel: row.channel,
            seq: row.seq,
            nth: row.nth,
            time: row.time,
        });
    })?;
    Ok(index)
}

/// The channels of the removed entries that no sweep has seen, all of which must be there.
fn removed(connection: &Connection, state: &StoreState) -> Outcome<BTreeSet<ChannelId>> {
    let mut removed = BTreeSet::new();
    each(connection, state.swept, state.floor.place.seq, |row| {
        removed.insert(row.channel);
    })?;
    Ok(removed)
}

/// Reads the entries after a number, up to and including another one.
fn each(
    connection: &Connection,
    after: u64,
    through: u64,
    mut read: impl FnMut(&EntryRow),
) -> Outcome<()> {
    let mut select = connection.prepare(&format!(
        "SELECT {} FROM entries WHERE seq > ?1 AND seq <= ?2 ORDER BY seq",
        EntryRow::COLUMNS
    ))?;
    let mut rows = select.query([after.cast_signed(), through.cast_signed()])?;
    let mut next = after + 1;
    while let Some(row) = rows.next()? {
        let (row, _) = EntryRow::verified(row)?;
        if row.seq != next {
            break;
        }
        read(&row);
        next += 1;
    }
    if next == through + 1 {
        Ok(())
    } else {
        Err(Failure::damaged(format!("entry {next} is missing")))
    }
}

fn next_channel(connection: &Connection) -> Outcome<ChannelId> {
    let newest: Option<ChannelId> =
        connection.query_row("SELECT max(id) FROM channels", [], |row| row.get(0))?;
    Ok(newest.unwrap_or(0) + 1)
}

fn gone(connection: &Connection, is_ended: bool) -> Outcome<u64> {
    let sql = "SELECT count(*) FROM gone WHERE is_ended = ?1";
    Ok(connection.query_row(sql, [is_ended], |row| number(row, 0))?)
}

fn first_row(connection: &Connection) -> Outcome<u64> {
    let first: Option<i64> =
        connection.query_row("SELECT min(seq) FROM entries", [], |row| row.get(0))?;
    Ok(first.map_or(1, i64::cast_unsigned))
}
