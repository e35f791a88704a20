//! A `Replay`: a read of the log for a reader whose next event the tapes no longer hold.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tidings_proto::{Decoder, EncodedEvents, EventId, GapReason};

use crate::follow::{Continuity, check_at, continuity};
use crate::interrupted::Interrupted;
use crate::life::{Life, PositionWithId};
use crate::resume::{gap, oldest};
use crate::shared::Shared;
use crate::slow_reader::{KeyOf, Policy, SlowReader};
use crate::tape::BLOCK_BYTES;
use crate::{Entry, LogError, LogErrorKind, Page, Pattern};

/// The maximum number of entries in a page.
const PAGE: usize = 256;
/// The limits on the events that [`SlowReader::latest_by`] keeps: their number, and their bytes.
const MAX_KEPT: usize = 65_536;
const MAX_KEPT_BYTES: usize = 16 << 20;
/// The number of attempts to read a page, before the stream ends with an error. The delay before
/// attempt n + 1 is n times `DELAY`.
const ATTEMPTS: u32 = 5;
const DELAY: Duration = Duration::from_millis(100);

/// A read of the log on behalf of a reader.
#[derive(Debug, Clone)]
pub(crate) struct Replay {
    pub(crate) shared: Arc<Shared>,
    pub(crate) life: Arc<Life>,
    pub(crate) patterns: Arc<[Pattern]>,
    pub(crate) slow_reader: SlowReader,
    pub(crate) max_lag: u64,
    pub(crate) after: u64,
    /// The last ID that was delivered.
    pub(crate) last_id: EventId,
}

/// The result of a [`Replay`].
#[derive(Debug)]
pub(crate) enum Replayed {
    Events {
        /// May have no items, and items may be empty.
        events: Vec<EncodedEvents>,
        /// The `seq` and the ID of the last event.
        last: Option<(u64, EventId)>,
        /// The reader continues after this entry.
        through: u64,
    },
    /// The stream ends, so that the client reconnects.
    Disconnect,
}

impl Replay {
    /// Reads entries up to `up_to`: all, or the first page of them.
    pub(crate) async fn read(self, up_to: u64) -> Result<Replayed, Interrupted> {
        match self.page(self.after, up_to).await? {
            LogPage::Held(page) => Ok(self.encode(&page)),
            LogPage::Trimmed => self.skip_trimmed().await,
        }
    }

    /// Applies the [`SlowReader`] policy to a reader that is further behind than its `max_lag`.
    pub(crate) async fn skip(self) -> Result<Replayed, Interrupted> {
        match &self.slow_reader.0 {
            Policy::Disconnect => Ok(Replayed::Disconnect),
            Policy::SkipToGap => self.skip_to_gap().await,
            Policy::LatestByKey(key) => {
                let key = Arc::clone(key);
                self.skip_to_latest(&*key).await
            }
        }
    }

    /// Reads one page of the entries of this life.
    async fn page(&self, after: u64, up_to: u64) -> Result<LogPage, Interrupted> {
        let log = &*self.shared.log;
        let mut attempt = 1;
        loop {
            let read = async {
                let mut page = log.read(after, up_to, &self.patterns, PAGE).await?;
                // Checked again here: a faulty log must not deliver entries that were not granted.
                let is_meant =
                    |entry: &Entry| self.patterns.iter().any(|p| p.matches(&entry.channel));
                page.entries.retain(is_meant);
                // Checked after the page was read. If the log still holds the newest entry of the life,
                // it held the entries of this page too, because they precede that entry.
                let (continuity, _) = continuity(log, &self.life).await?;
                // Otherwise the same page would be read again and again.
                if continuity == Continuity::Whole && page.through <= after {
                    return Err(LogError::lost("the log returned a page without progress"));
                }
                Ok((page, continuity))
            };
            let read = {
                let _turn = self.shared.turns.page().await;
                read.await
            };
            match read.map_err(|error| (error.kind(), error)) {
                Ok((page, Continuity::Whole)) => return Ok(LogPage::Held(page)),
                Ok((_, Continuity::Broken)) | Err((LogErrorKind::Rewound { .. }, _)) => {
                    return Err(Interrupted::LifeOver);
                }
                // The next entry precedes the newest one of this life, so it was trimmed too.
                Ok((_, Continuity::Missed)) | Err((LogErrorKind::Trimmed { .. }, _)) => {
                    return Ok(LogPage::Trimmed);
                }
                Err((_, error)) if attempt == ATTEMPTS => return Err(error.into()),
                Err(_) => tokio::time::sleep(DELAY * attempt).await,
            }
            attempt += 1;
        }
    }

    /// Encodes the entries of a page with their IDs, up to about one block of bytes.
    fn encode(&self, page: &Page) -> Replayed {
        let mut builder = EncodedEventsBuilder::default();
        let mut through = page.through;
        for entry in &page.entries {
            if builder.bytes.len() >= BLOCK_BYTES {
                through = entry.seq - 1;
                break;
            }
            if !self.life.ends().hides(entry) {
                builder.push(&self.life, entry);
            }
        }
        Replayed::Events {
            last: builder.last.clone(),
            events: vec![builder.build()],
            through,
        }
    }

    /// Handles a trim of the next entries.
    async fn skip_trimmed(self) -> Result<Replayed, Interrupted> {
        if matches!(self.slow_reader.0, Policy::Disconnect) {
            return Ok(Replayed::Disconnect);
        }
        let to = oldest(&self.shared, &self.life).await?;
        Ok(self.skip_to(&to))
    }

    /// Continues with the oldest event within `max_lag`.
    async fn skip_to_gap(self) -> Result<Replayed, Interrupted> {
        let log = &*self.shared.log;
        let to = self.life.high().saturating_sub(self.max_lag);
        let bounds = log.bounds().await?;
        let check = check_at(log, &bounds, to).await?;
        let (continuity, _) = continuity(log, &self.life).await?;
        match (continuity, check) {
            (Continuity::Broken, _) => Err(Interrupted::LifeOver),
            (Continuity::Whole, Some(check)) => {
                Ok(self.skip_to(&PositionWithId::from(self.life.position(to, check))))
            }
            (Continuity::Whole, None) | (Continuity::Missed, _) => self.skip_trimmed().await,
        }
    }

    /// Reports a gap, and continues after `to`.
    fn skip_to(&self, to: &PositionWithId) -> Replayed {
        let missed = to.seq().saturating_sub(self.after);
        Replayed::Events {
            events: vec![gap(None, GapReason::Slow, Some(missed), &to.id)],
            last: Some((to.seq(), to.id.clone())),
            through: to.seq(),
        }
    }

    /// Reads everything up to the high-water mark, and keeps the latest event of each key.
    async fn skip_to_latest(self, key: &KeyOf) -> Result<Replayed, Interrupted> {
        let high = self.life.high();
        let mut latest = Latest::default();
        let mut after = self.after;
        while after < high {
            match self.page(after, high).await? {
                LogPage::Held(page) => {
                    after = page.through;
                    let visible = self.visible(page);
                    // `key` is the user's code, so it runs without a lock.
                    visible
                        .into_iter()
                        .for_each(|entry| latest.push(entry, key));
                }
                LogPage::Trimmed => return self.skip_trimmed().await,
            }
        }
        Ok(self.deliver_latest(latest, high))
    }

    /// The entries of a page that subscribers receive.
    fn visible(&self, mut page: Page) -> Vec<Entry> {
        let ends = self.life.ends();
        page.entries.retain(|entry| !ends.hides(entry));
        page.entries
    }

    /// Delivers a gap, if events were left out, and then the kept events. The gap has the last
    /// delivered ID, because all of them follow it.
    fn deliver_latest(&self, latest: Latest, through: u64) -> Replayed {
        let mut events = Vec::new();
        if latest.missed > 0 {
            let missed = Some(latest.missed);
            events.push(gap(None, GapReason::Slow, missed, &self.last_id));
        }
        let mut builder = EncodedEventsBuilder::default();
        let mut last = None;
        for entry in latest.kept.into_values() {
            builder.push(&self.life, &entry);
            last = builder.last.clone();
            if builder.bytes.len() >= BLOCK_BYTES {
                events.push(std::mem::take(&mut builder).build());
            }
        }
        events.push(builder.build());
        Replayed::Events {
            events,
            last,
            through,
        }
    }
}

/// The result of reading a page.
enum LogPage {
    Held(Page),
    /// The log has trimmed the next entries.
    Trimmed,
}

/// Encodes entries one after the other.
#[derive(Default)]
struct EncodedEventsBuilder {
    bytes: BytesMut,
    /// The `seq` and the ID of the last event.
    last: Option<(u64, EventId)>,
    count: usize,
}

impl EncodedEventsBuilder {
    fn push(&mut self, life: &Life, entry: &Entry) {
        let id = EventId::from(&life.position(entry.seq, entry.check()));
        self.bytes.extend_from_slice(b"id: ");
        self.bytes.extend_from_slice(id.as_str().as_bytes());
        self.bytes.extend_from_slice(b"\n");
        self.bytes.extend_from_slice(&entry.body);
        self.last = Some((entry.seq, id));
        self.count += 1;
    }

    fn build(self) -> EncodedEvents {
        let last_id = self.last.map(|(_, id)| id);
        EncodedEvents::from_parts(self.bytes.freeze(), last_id, self.count)
    }
}

/// The latest event of each key, and all events without a key, within the limits.
#[derive(Default)]
struct Latest {
    kept: BTreeMap<u64, Entry>,
    /// The `seq` of the latest event of each key.
    by_key: HashMap<String, u64>,
    /// The length of all kept events, in bytes.
    bytes: usize,
    /// How many events were left out.
    missed: u64,
}

impl Latest {
    fn push(&mut self, entry: Entry, key: &KeyOf) {
        let event = Decoder::new().decode(&entry.body).next();
        let key = event.and_then(Result::ok).and_then(|event| key(&event));
        let before = key.and_then(|key| self.by_key.insert(key, entry.seq));
        if let Some(seq) = before {
            self.leave_out(seq);
        }
        self.bytes += entry.body.len();
        self.kept.insert(entry.seq, entry);
        while (self.kept.len() > MAX_KEPT || self.bytes > MAX_KEPT_BYTES)
            && self.kept.len() > 1
            && let Some((&oldest, _)) = self.kept.first_key_value()
        {
            self.leave_out(oldest);
        }
        if self.by_key.len() > 2 * MAX_KEPT {
            self.by_key.retain(|_, seq| self.kept.contains_key(seq));
        }
    }

    fn leave_out(&mut self, seq: u64) {
        if let Some(entry) = self.kept.remove(&seq) {
            self.bytes -= entry.body.len();
            self.missed += 1;
        }
    }
}
