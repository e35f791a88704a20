//! `IndexRow`: a row of the index by channel: of the table `places`, or in memory.

use rusqlite::{Connection, Row, params};

use crate::channel_row::ChannelId;
use crate::failure::{Failure, Outcome};
use crate::sums::Sum;

/// That a channel has an entry of this number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IndexRow {
    pub(crate) channel: ChannelId,
    pub(crate) seq: u64,
    /// How many events the channel has up to and including this entry. The end of a channel has the number of
    /// its last event.
    pub(crate) nth: u64,
    /// The time of the entry.
    pub(crate) time: u64,
}

impl IndexRow {
    /// The columns that [`read`](Self::read) takes, in its order.
    pub(crate) const COLUMNS: &str =
        "places.channel, places.seq, places.nth, places.time, places.sum";

    /// The row of these columns, verified.
    pub(crate) fn read(row: &Row<'_>) -> Outcome<Self> {
        let damaged = || Failure::damaged("a row of the index is not what was written");
        let value = |column| row.get::<_, i64>(column).map_err(|_| damaged());
        let read = Self {
            channel: value(0)?,
            seq: value(1)?.cast_unsigned(),
            nth: value(2)?.cast_unsigned(),
            time: value(3)?.cast_unsigned(),
        };
        if read.sum() == value(4)? {
            Ok(read)
        } else {
            let Self { channel, seq, .. } = read;
            let what = format!(
                "the index row of channel {channel} and entry {seq} is not what was written"
            );
            Err(Failure::damaged(what))
        }
    }

    pub(crate) fn write(&self, connection: &Connection) -> Outcome<()> {
        let mut replace = connection
            .prepare_cached("INSERT OR REPLACE INTO places VALUES(?1, ?2, ?3, ?4, ?5)")?;
        replace.execute(params![
            self.channel,
            self.seq.cast_signed(),
            self.nth.cast_signed(),
            self.time.cast_signed(),
            self.sum(),
        ])?;
        Ok(())
    }

    fn sum(&self) -> i64 {
        Sum::of("places")
            .number(self.channel.cast_unsigned())
            .number(self.seq)
            .number(self.nth)
            .number(self.time)
            .finish_small()
    }
}
