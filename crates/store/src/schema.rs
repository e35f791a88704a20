//! The tables of a store, and the number of their format. `docs/log-format.md` explains them.

use rusqlite::Connection;

use crate::connection::{self, Synchronous};
use crate::failure::{Failure, Outcome};
use crate::state_row::StoreState;

/// Identifies a store among SQLite's databases: `tidg`.
pub(crate) const APPLICATION_ID: i32 = 0x7469_6467;

/// The format that this version writes. It reads this one and all older ones.
pub(crate) const FORMAT: u32 = 1;

pub(crate) const SCHEMA: &str = r#"
CREATE TABLE state(
  id INTEGER PRIMARY KEY CHECK (id = 1),
  epoch TEXT NOT NULL,
  secret BLOB NOT NULL,
  floor_seq INTEGER NOT NULL,
  floor_check TEXT NOT NULL,
  floor_time INTEGER NOT NULL,
  floor_total INTEGER NOT NULL,
  removed_count INTEGER NOT NULL,
  removed_seq INTEGER NOT NULL,
  removed_time INTEGER NOT NULL,
  indexed INTEGER NOT NULL,
  swept INTEGER NOT NULL,
  forgotten_through INTEGER NOT NULL,
  ends_since INTEGER NOT NULL,
  unsynced INTEGER NOT NULL,
  is_copy INTEGER NOT NULL,
  syncs INTEGER NOT NULL,
  last INTEGER NOT NULL,
  sum INTEGER NOT NULL
);
CREATE TABLE entries(
  seq INTEGER PRIMARY KEY,
  time INTEGER NOT NULL,
  total INTEGER NOT NULL,
  channel INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  nth INTEGER NOT NULL,
  "check" TEXT NOT NULL,
  sum INTEGER NOT NULL,
  body BLOB NOT NULL
);
CREATE TABLE channels(
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  known_since INTEGER NOT NULL,
  "end" INTEGER,
  sum INTEGER NOT NULL
);
CREATE INDEX ends ON channels("end") WHERE "end" IS NOT NULL;
CREATE TABLE places(
  channel INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  nth INTEGER NOT NULL,
  time INTEGER NOT NULL,
  sum INTEGER NOT NULL,
  PRIMARY KEY (channel, seq)
) WITHOUT ROWID;
CREATE TABLE gone(
  is_ended INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  channel INTEGER NOT NULL,
  PRIMARY KEY (is_ended, seq)
) WITHOUT ROWID;
CREATE TABLE keys(
  seq INTEGER PRIMARY KEY,
  key BLOB NOT NULL,
  expires INTEGER NOT NULL
);
"#;

/// Creates the tables of a new store in an empty database.
pub(crate) fn create(connection: &mut Connection, state: &StoreState) -> Outcome<()> {
    connection::set_synchronous(connection, Synchronous::Full)?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(SCHEMA)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", FORMAT)?;
    state.write(&transaction)?;
    transaction.commit()?;
    Ok(())
}

/// Fails if the tables are not those of a store of this format.
pub(crate) fn verify(connection: &Connection) -> Outcome<()> {
    let expected = Connection::open_in_memory()?;
    expected.execute_batch(SCHEMA)?;
    if definitions(connection)? == definitions(&expected)? {
        Ok(())
    } else {
        Err(Failure::damaged("its tables are not those of a store"))
    }
}

fn definitions(connection: &Connection) -> rusqlite::Result<Vec<(String, String, Option<String>)>> {
    // Without the statistics that an operator may have added with `ANALYZE`.
    let mut select = connection.prepare(
        "SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_stat%' ORDER BY type, name",
    )?;
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    rows.collect()
}
