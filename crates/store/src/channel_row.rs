//! `ChannelRow`: a row of the table `channels`.

use std::sync::LazyLock;

use rusqlite::{Connection, OptionalExtension, Row, params};
use tidings_hub::ChannelName;

use crate::failure::{Failure, Outcome};
use crate::sums::Sum;

/// The number of a channel in a store. No other channel gets it while the store is open.
pub(crate) type ChannelId = i64;

static FROM: LazyLock<String> =
    LazyLock::new(|| ChannelRow::select("name >= ?1 ORDER BY name LIMIT 1"));
static BEFORE: LazyLock<String> =
    LazyLock::new(|| ChannelRow::select("name < ?1 ORDER BY name DESC LIMIT 1"));

/// A channel that has entries, or that the store remembers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChannelRow {
    pub(crate) id: ChannelId,
    pub(crate) name: ChannelName,
    /// Of its events up to this number, the store knows nothing.
    pub(crate) known_since: u64,
    /// The number of its end, if it has ended.
    pub(crate) end: Option<u64>,
}

impl ChannelRow {
    /// The columns that [`read`](Self::read) takes, in its order.
    pub(crate) const COLUMNS: &str = r#"id, name, known_since, "end", sum"#;

    pub(crate) fn select(condition: &str) -> String {
        format!("SELECT {} FROM channels WHERE {condition}", Self::COLUMNS)
    }

    /// The row of these columns, verified.
    pub(crate) fn read(row: &Row<'_>) -> Outcome<Self> {
        let id = row.get(0)?;
        let damaged = || Failure::damaged(format!("channel {id} is not what was written"));
        let name = row.get_ref(1)?.as_str().map_err(|_| damaged())?;
        let end: Option<i64> = row.get(3).map_err(|_| damaged())?;
        let known_since: i64 = row.get(2).map_err(|_| damaged())?;
        let read = Self {
            id,
            name: ChannelName::new(name).map_err(|_| damaged())?,
            known_since: known_since.cast_unsigned(),
            end: end.map(i64::cast_unsigned),
        };
        let sum: i64 = row.get(4).map_err(|_| damaged())?;
        if read.sum() == sum {
            Ok(read)
        } else {
            Err(damaged())
        }
    }

    /// The channel of this name. If there is none, the channels beside it are verified: the name of one of
    /// them may be damaged.
    pub(crate) fn find(connection: &Connection, name: &ChannelName) -> Outcome<Option<Self>> {
        let found = Self::first(connection, &FROM, name.as_str())?;
        let found = found.filter(|row| row.name == *name);
        if found.is_none() {
            Self::check_before(connection, name.as_str())?;
        }
        Ok(found)
    }

    /// Verifies the channel before this text in the order of names.
    pub(crate) fn check_before(connection: &Connection, text: &str) -> Outcome<()> {
        Self::first(connection, &BEFORE, text).map(drop)
    }

    fn first(connection: &Connection, select: &str, text: &str) -> Outcome<Option<Self>> {
        let mut select = connection.prepare_cached(select)?;
        let found = select.query_row([text], |row| Ok(Self::read(row)));
        found.optional()?.transpose()
    }

    pub(crate) fn write(&self, connection: &Connection) -> Outcome<()> {
        let mut replace = connection
            .prepare_cached("INSERT OR REPLACE INTO channels VALUES(?1, ?2, ?3, ?4, ?5)")?;
        replace.execute(params![
            self.id,
            self.name.as_str(),
            self.known_since.cast_signed(),
            self.end.map(u64::cast_signed),
            self.sum(),
        ])?;
        Ok(())
    }

    fn sum(&self) -> i64 {
        Sum::of("channels")
            .number(self.id.cast_unsigned())
            .text(self.name.as_str())
            .number(self.known_since)
            // No end has the number 0.
            .number(self.end.unwrap_or(0))
            .finish()
    }
}
