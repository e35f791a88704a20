//! A `Replay`: a read of the log for a reader whose next event the tapes no longer hold.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tidings_proto::{EncodedEvents, EventId, GapReason};

use crate::continuity::locate_start;
use crate::id_form::IdForm;
use crate::interrupted::Interrupted;
use crate::latest::{Kept, Latest};
use crate::life::{Life, PositionWithId};
use crate::resume::gap;
use crate::shared::Shared;
use crate::slow_reader::{KeyOf, Policy, SlowReader};
use crate::tape::BLOCK_BYTES;
use crate::{Entry, LogError, LogErrorKind, Page, Pattern, Scope, Start};

/// The maximum number of entries in a page.
const PAGE: usize = 256;
/// The maximum distance between two kept events of one page. The entries between them are read in vain.
const KEPT_DISTANCE: u64 = 16;
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
    /// The last ID that was delivered, without the name of a channel.
    pub(crate) last_id: EventId,
    pub(crate) id_form: IdForm,
}

/// The result of a [`Replay`].
#[derive(Debug)]
pub(crate) enum Replayed {
    Events {
        /// May be empty.
        events: EncodedEvents,
        /// The `seq` and the ID of the last event.
        last: Option<(u64, EventId)>,
        /// The reader continues after this entry.
        through: u64,
        /// The events that are to be [delivered](Replay::deliver) before the reader continues.
        kept: Option<Box<Kept>>,
    },
    /// The stream ends, so that the client reconnects.
    Disconnect,
}

impl Replayed {
    /// No events: the reader continues after this entry.
    fn nothing(through: u64) -> Self {
        Self::Events {
            events: EncodedEvents::default(),
            last: None,
            through,
            kept: None,
        }
    }
}

impl Replay {
    /// Reads entries up to `up_to`: all, or the first page of them.
    pub(crate) async fn read(self, up_to: u64) -> Result<Replayed, Interrupted> {
        match self.page(self.after, up_to).await? {
            LogPage::Held(page) => Ok(self.encode(&page)),
            LogPage::Trimmed => self.skip_trimmed().await,
        }
    }

    /// Handles a reader that is further behind than its `max_lag`: applies the [`SlowReader`] policy, unless
    /// the reader misses no event if it continues within `max_lag`.
    pub(crate) async fn skip(self) -> Result<Replayed, Interrupted> {
        let to = self.life.high().saturating_sub(self.max_lag);
        let (to, missed) = self.locate_skip(to).await?;
        if missed == 0 {
            return Ok(Replayed::nothing(to.seq()));
        }
        match &self.slow_reader.0 {
            Policy::Disconnect => Ok(Replayed::Disconnect),
            Policy::SkipToGap => Ok(self.skip_to(&to, missed)),
            Policy::LatestByKey(key) => {
                let key = Arc::clone(key);
                self.skip_to_latest(&*key).await
            }
        }
    }

    /// The position after `to`, or after the entries that the log has removed, and how many events the
    /// reader misses at most if it continues there.
    async fn locate_skip(&self, to: u64) -> Result<(PositionWithId, u64), Interrupted> {
        let after = self.after;
        let skip = Start::Skip { after, to };
        let found = locate_start(&self.shared, &self.life, skip, &self.patterns).await?;
        // Otherwise the reader would skip the same entries again and again.
        if found.0.seq() <= after {
            return Err(LogError::lost("the log found a place that was passed before").into());
        }
        Ok(found)
    }

    /// Reads one page of the entries of this life, up to `up_to`.
    async fn page(&self, after: u64, up_to: u64) -> Result<LogPage, Interrupted> {
        let limit = usize::try_from(up_to - after).map_or(PAGE, |entries| entries.min(PAGE));
        let mut attempt = 1;
        loop {
            let read = {
                let _turn = self.shared.turns.page().await;
                self.read_page(after, limit).await
            };
            match read.map_err(|error| (error.kind(), error)) {
                Ok(page) => return Ok(LogPage::Held(up_to_entry(page, up_to))),
                Err((LogErrorKind::Rewound { .. }, _)) => return Err(Interrupted::LifeOver),
                Err((LogErrorKind::Trimmed { .. }, _)) => return Ok(LogPage::Trimmed),
                // The log was asked several times, and did not respond within the limit.
                Err((LogErrorKind::Silent, error)) => return Err(error.into()),
                Err((_, error)) if attempt == ATTEMPTS => return Err(error.into()),
                Err(_) => tokio::time::sleep(DELAY * attempt).await,
            }
            attempt += 1;
        }
    }

    async fn read_page(&self, after: u64, limit: usize) -> Result<Page, LogError> {
        let newest = self.life.newest().position;
        let scope = Scope::new(&self.patterns, &newest);
        let mut page = self.shared.log.read(after, limit, scope).await?;
        // Otherwise the same page would be read again and again, or entries would be delivered twice.
        let seqs = page.entries.iter().map(|entry| entry.seq);
        let seqs = [after].into_iter().chain(seqs);
        if page.through <= after || !seqs.clone().is_sorted_by(|a, b| a < b) {
            return Err(LogError::lost("the log returned a page without progress"));
        }
        if seqs.last() > Some(page.through) {
            return Err(LogError::lost(
                "the log returned entries after the end of a page",
            ));
        }
        // Checked again here: a faulty log must not deliver entries that were not granted.
        page.entries.retain(|entry| scope.covers(&entry.channel));
        Ok(page)
    }

    /// Encodes the entries of a page with their IDs, up to about one block of bytes.
    fn encode(&self, page: &Page) -> Replayed {
        let mut builder = EncodedEventsBuilder::new(self.id_form);
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
            events: builder.build(),
            through,
            kept: None,
        }
    }

    /// Handles the loss of events that the log has removed.
    async fn skip_trimmed(&self) -> Result<Replayed, Interrupted> {
        if matches!(self.slow_reader.0, Policy::Disconnect) {
            return Ok(Replayed::Disconnect);
        }
        let (to, missed) = self.locate_skip(self.after).await?;
        if missed == 0 {
            return Ok(Replayed::nothing(to.seq()));
        }
        Ok(self.skip_to(&to, missed))
    }

    /// Reports a gap, and continues after `to`.
    fn skip_to(&self, to: &PositionWithId, missed: u64) -> Replayed {
        Replayed::Events {
            events: gap(None, GapReason::Slow, Some(missed), &to.id),
            last: Some((to.seq(), to.id.clone())),
            through: to.seq(),
            kept: None,
        }
    }

    /// Reads everything up to the high-water mark, and keeps the number of the latest event of each key. If
    /// events were left out, it delivers a gap. The gap has the last delivered ID, because all kept
    /// events follow it.
    async fn skip_to_latest(self, key: &KeyOf) -> Result<Replayed, Interrupted> {
        let _turn = self.shared.turns.scan().await;
        let high = self.life.high();
        let mut latest = Latest::default();
        let mut after = self.after;
        while after < high {
            match self.page(after, high).await? {
                LogPage::Held(page) => {
                    after = page.through;
                    let visible = self.visible(page);
                    // `key` is the user's code, so it runs without a lock.
                    visible.iter().for_each(|entry| latest.push(entry, key));
                }
                LogPage::Trimmed => return self.skip_trimmed().await,
            }
        }
        let missed = Some(latest.missed()).filter(|&missed| missed > 0);
        let gap = missed.map(|missed| gap(None, GapReason::Slow, Some(missed), &self.last_id));
        Ok(Replayed::Events {
            events: gap.unwrap_or_default(),
            last: None,
            through: self.after,
            kept: Some(Box::new(latest.into_kept(high))),
        })
    }

    /// The entries of a page that subscribers receive.
    fn visible(&self, mut page: Page) -> Vec<Entry> {
        let ends = self.life.ends();
        page.entries.retain(|entry| !ends.hides(entry));
        page.entries
    }

    /// Delivers the next events that `latest_by` has kept, up to about one block of bytes.
    pub(crate) async fn deliver(self, mut kept: Box<Kept>) -> Result<Replayed, Interrupted> {
        let Some((first, last)) = kept.next().zip(kept.run(PAGE, KEPT_DISTANCE)) else {
            return Ok(Replayed::nothing(kept.through));
        };
        let page = match self.page(first - 1, last).await? {
            LogPage::Held(page) => page,
            LogPage::Trimmed => return self.skip_trimmed().await,
        };
        let mut builder = EncodedEventsBuilder::new(self.id_form);
        for entry in &page.entries {
            if builder.bytes.len() >= BLOCK_BYTES {
                break;
            }
            if kept.next() == Some(entry.seq) {
                builder.push(&self.life, entry);
                kept.pop();
            }
        }
        let Some(delivered) = builder.last.clone() else {
            return Err(LogError::lost("the log no longer returns an entry that it holds").into());
        };
        Ok(Replayed::Events {
            through: delivered.0,
            last: Some(delivered),
            events: builder.build(),
            kept: Some(kept),
        })
    }
}

/// The result of reading a page.
enum LogPage {
    Held(Page),
    /// The log has removed events that the reader has not received.
    Trimmed,
}

/// The page without the entries after `up_to`.
fn up_to_entry(mut page: Page, up_to: u64) -> Page {
    page.entries.retain(|entry| entry.seq <= up_to);
    page.through = page.through.min(up_to);
    page
}

/// Encodes entries one after the other.
struct EncodedEventsBuilder {
    form: IdForm,
    bytes: BytesMut,
    /// The `seq` and the ID of the last event.
    last: Option<(u64, EventId)>,
    count: usize,
}

impl EncodedEventsBuilder {
    fn new(form: IdForm) -> Self {
        Self {
            form,
            bytes: BytesMut::new(),
            last: None,
            count: 0,
        }
    }

    fn push(&mut self, life: &Life, entry: &Entry) {
        let position = life.position(entry.seq, entry.check());
        let id = self.form.id(&position, &entry.channel);
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
