//! Owns the reading of the log for a subscriber that is behind the tapes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tidings_proto::{Decoder, EncodedEvents, EventId, GapReason};

use crate::follow::{Continuity, check_at, continuity};
use crate::interrupted::Interrupted;
use crate::life::{Life, PositionWithId};
use crate::log::lost;
use crate::resume::{gap, oldest};
use crate::shared::Shared;
use crate::slow_reader::{KeyOf, Policy, SlowReader};
use crate::tape::BLOCK_BYTES;
use crate::{Entry, LogError, Page, Pattern};

/// How many entries are asked for at once.
const PAGE: usize = 256;
/// How many events [`SlowReader::latest_by`] keeps, and how many bytes of them.
const MAX_KEPT: usize = 65_536;
const MAX_KEPT_BYTES: usize = 16 << 20;
/// How often the log is asked, and how long apart, before the stream is broken.
const ATTEMPTS: u32 = 5;
const DELAY: Duration = Duration::from_millis(100);

/// Who reads what from where.
#[derive(Debug, Clone)]
pub(crate) struct Replay {
    pub(crate) shared: Arc<Shared>,
    pub(crate) life: Arc<Life>,
    pub(crate) patterns: Arc<[Pattern]>,
    pub(crate) slow_reader: SlowReader,
    pub(crate) max_lag: u64,
    pub(crate) after: u64,
    /// The last that was handed out.
    pub(crate) last_id: EventId,
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Replayed {
    Events {
        /// May be none, or empty.
        events: Vec<EncodedEvents>,
        /// The last of them, and its id.
        last: Option<(u64, EventId)>,
        /// Where to go on.
        through: u64,
    },
    /// The stream ends, for a client to come back.
    Disconnect,
}

impl Replay {
    /// Reads what stands in the log up to here, or some of it.
    pub(crate) async fn read(self, up_to: u64) -> Result<Replayed, Interrupted> {
        match self.page(self.after, up_to).await? {
            LogPage::Held(page) => Ok(self.encode(&page)),
            LogPage::Trimmed => self.skip_trimmed().await,
        }
    }

    /// Does what is done for a reader that is behind by more than it may be.
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

    /// One page, of the history that this life has heard.
    async fn page(&self, after: u64, up_to: u64) -> Result<LogPage, Interrupted> {
        let log = &*self.shared.log;
        let mut attempt = 1;
        loop {
            let read = async {
                let mut page = log.read(after, up_to, &self.patterns, PAGE).await?;
                // What was not granted is not heard, whatever the log takes the patterns for.
                let is_meant =
                    |entry: &Entry| self.patterns.iter().any(|p| p.matches(&entry.channel));
                page.entries.retain(is_meant);
                // Looked at after the page: if what we heard last still stands there, the page was of
                // the same history, as it lies before that.
                let (continuity, _) = continuity(log, &self.life).await?;
                // Else we would ask for the same page for ever.
                if continuity == Continuity::Whole && page.through <= after {
                    return Err(lost("a page of the log leads nowhere"));
                }
                Ok((page, continuity))
            };
            match read.await {
                Ok((page, Continuity::Whole)) => return Ok(LogPage::Held(page)),
                Ok((_, Continuity::Broken)) | Err(LogError::Rewound { .. }) => {
                    return Err(Interrupted::LifeOver);
                }
                // What comes next lies before what this life has heard last.
                Ok((_, Continuity::Missed)) | Err(LogError::Trimmed { .. }) => {
                    return Ok(LogPage::Trimmed);
                }
                Err(error) if attempt == ATTEMPTS => return Err(error.into()),
                Err(_) => tokio::time::sleep(DELAY * attempt).await,
            }
            attempt += 1;
        }
    }

    /// The entries with their ids: about one block of them, or all.
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

    /// The log has forgotten what comes next.
    async fn skip_trimmed(self) -> Result<Replayed, Interrupted> {
        if matches!(self.slow_reader.0, Policy::Disconnect) {
            return Ok(Replayed::Disconnect);
        }
        let to = oldest(&self.shared, &self.life).await?;
        Ok(self.skip_to(&to))
    }

    /// Goes on with the oldest event that is within `max_lag`.
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

    fn skip_to(&self, to: &PositionWithId) -> Replayed {
        let missed = to.seq().saturating_sub(self.after);
        Replayed::Events {
            events: vec![gap(None, GapReason::Slow, Some(missed), &to.id)],
            last: Some((to.seq(), to.id.clone())),
            through: to.seq(),
        }
    }

    /// Reads all that is behind and keeps the latest of each key, told after the gap that this makes.
    async fn skip_to_latest(self, key: &KeyOf) -> Result<Replayed, Interrupted> {
        let high = self.life.high();
        let mut latest = Latest::default();
        let mut after = self.after;
        while after < high {
            match self.page(after, high).await? {
                LogPage::Held(page) => {
                    after = page.through;
                    let heard = self.heard(page);
                    // The caller's code, and so without a lock.
                    heard.into_iter().for_each(|entry| latest.push(entry, key));
                    // There may be as much as the log holds.
                    tokio::task::yield_now().await;
                }
                LogPage::Trimmed => return self.skip_trimmed().await,
            }
        }
        Ok(self.deliver_latest(latest, high))
    }

    fn heard(&self, mut page: Page) -> Vec<Entry> {
        let ends = self.life.ends();
        page.entries.retain(|entry| !ends.hides(entry));
        page.entries
    }

    /// What was left out lies behind the last id that was handed out, and so does what is kept.
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

/// What the log holds of a page.
enum LogPage {
    Held(Page),
    /// The log has forgotten what comes next.
    Trimmed,
}

/// Events that are encoded one after the other.
#[derive(Default)]
struct EncodedEventsBuilder {
    bytes: BytesMut,
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

/// The latest event of each key, and all without one.
#[derive(Default)]
struct Latest {
    kept: BTreeMap<u64, Entry>,
    by_key: HashMap<String, u64>,
    /// Of what is kept.
    bytes: usize,
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
