//! `StoreState`: the only row of the table `state`.

use rusqlite::{Connection, Row, params};
use tidings_hub::Place;
use tidings_hub::engine::Removed;
use tidings_proto::{EntryCheck, Epoch};

use crate::failure::{Failure, Outcome};
use crate::sums::Sum;

/// What a store knows as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoreState {
    pub(crate) epoch: Epoch,
    /// The key of the hashes of idempotency keys.
    pub(crate) secret: [u8; 16],
    pub(crate) floor: Floor,
    /// The events that were removed, of all channels together.
    pub(crate) removed: Removed,
    /// The table `places` has a row of each entry up to this number, except of removed ones. Of later entries
    /// it may have some.
    pub(crate) indexed: u64,
    /// The tables `places` and `gone` show the removal of each entry up to this number. The rows of `entries`
    /// up to it may still exist, and count for nothing. At most `floor.seq`.
    pub(crate) swept: u64,
    /// The newest event of all channels that were forgotten.
    pub(crate) forgotten_through: u64,
    /// No end with this number or a larger one was forgotten.
    pub(crate) ends_since: u64,
    /// The store was opened with a durability below `EveryCommit`, and not closed since.
    pub(crate) is_unsynced: bool,
    /// The file is a backup that was never opened.
    pub(crate) is_copy: bool,
    /// How often the store wrote this row only to have something to synchronize.
    pub(crate) syncs: u64,
    /// The newest entry when this row was written. Later entries may follow; if it is missing, the file is
    /// damaged.
    pub(crate) last: u64,
}

/// The newest entry that was removed; the place before the first entry of all if there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Floor {
    pub(crate) place: Place,
    pub(crate) time: u64,
    /// The cost of all entries up to it.
    pub(crate) total: u64,
}

impl StoreState {
    /// The state of a new store.
    pub(crate) fn new(epoch: Epoch, secret: [u8; 16]) -> Self {
        Self {
            epoch,
            secret,
            floor: Floor {
                place: Place::start(),
                time: 0,
                total: 0,
            },
            removed: Removed::default(),
            indexed: 0,
            swept: 0,
            forgotten_through: 0,
            ends_since: 1,
            is_unsynced: false,
            is_copy: false,
            syncs: 0,
            last: 0,
        }
    }

    pub(crate) fn read(connection: &Connection) -> Outcome<Self> {
        let mut select = connection.prepare_cached(
            "SELECT epoch, secret, floor_seq, floor_check, floor_time, floor_total, removed_count, removed_seq, \
             removed_time, indexed, swept, forgotten_through, ends_since, unsynced, is_copy, syncs, \
             last, sum FROM state",
        )?;
        let mut rows = select.query([])?;
        let row = rows.next()?.ok_or_else(damaged)?;
        let state = Self::of(row)?;
        let sum: i64 = row.get(17)?;
        if state.sum() == sum {
            Ok(state)
        } else {
            Err(damaged())
        }
    }

    fn of(row: &Row<'_>) -> Outcome<Self> {
        let epoch: String = row.get(0)?;
        let check: String = row.get(3)?;
        Ok(Self {
            epoch: Epoch::new(&epoch).map_err(|_| damaged())?,
            secret: row.get(1)?,
            floor: Floor {
                place: Place {
                    seq: number(row, 2)?,
                    check: EntryCheck::new(&check).map_err(|_| damaged())?,
                },
                time: number(row, 4)?,
                total: number(row, 5)?,
            },
            removed: Removed {
                count: number(row, 6)?,
                seq: number(row, 7)?,
                time: number(row, 8)?,
            },
            indexed: number(row, 9)?,
            swept: number(row, 10)?,
            forgotten_through: number(row, 11)?,
            ends_since: number(row, 12)?,
            is_unsynced: row.get(13)?,
            is_copy: row.get(14)?,
            syncs: number(row, 15)?,
            last: number(row, 16)?,
        })
    }

    pub(crate) fn write(&self, connection: &Connection) -> Outcome<()> {
        let mut replace = connection.prepare_cached(
            "INSERT OR REPLACE INTO state VALUES(1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, \
             ?15, ?16, ?17, ?18)",
        )?;
        let (floor, removed) = (self.floor, self.removed);
        replace.execute(params![
            self.epoch.as_str(),
            self.secret,
            floor.place.seq.cast_signed(),
            floor.place.check.as_str(),
            floor.time.cast_signed(),
            floor.total.cast_signed(),
            removed.count.cast_signed(),
            removed.seq.cast_signed(),
            removed.time.cast_signed(),
            self.indexed.cast_signed(),
            self.swept.cast_signed(),
            self.forgotten_through.cast_signed(),
            self.ends_since.cast_signed(),
            self.is_unsynced,
            self.is_copy,
            self.syncs.cast_signed(),
            self.last.cast_signed(),
            self.sum(),
        ])?;
        Ok(())
    }

    fn sum(&self) -> i64 {
        let (floor, removed) = (self.floor, self.removed);
        Sum::of("state")
            .text(self.epoch.as_str())
            .bytes(&self.secret)
            .number(floor.place.seq)
            .text(floor.place.check.as_str())
            .number(floor.time)
            .number(floor.total)
            .number(removed.count)
            .number(removed.seq)
            .number(removed.time)
            .number(self.indexed)
            .number(self.swept)
            .number(self.forgotten_through)
            .number(self.ends_since)
            .number(self.is_unsynced.into())
            .number(self.is_copy.into())
            .number(self.syncs)
            .number(self.last)
            .finish()
    }
}

/// A number that is never negative, and that SQLite stores as a signed one.
pub(crate) fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get(column).map(i64::cast_unsigned)
}

fn damaged() -> Failure {
    Failure::damaged("the row of the table `state` is not what was written")
}
