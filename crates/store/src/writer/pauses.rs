//! `Pauses`: how long each part of the upkeep waits after it has met damage.

use std::time::{Duration, Instant};

use super::commit::Work;
use super::failing::RETRY;
use super::head::Head;
use super::upkeep::Upkeep;
use crate::clock;

/// The longest pause after a page of the file could not be read.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

#[derive(Debug, Default)]
pub(super) struct Pauses([Pause; 3]);

/// The pause of one part.
#[derive(Debug, Default)]
struct Pause {
    until: Option<Instant>,
    page: Option<Page>,
}

/// A page that could not be read.
#[derive(Debug)]
struct Page {
    /// How long the part waits because of it.
    pause: Duration,
    /// How far the part got.
    reached: Reached,
}

/// How far a log is, or how far a transaction would have brought it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reached {
    /// The newest removed entry.
    pub(super) floor: u64,
    /// The newest entry.
    pub(super) last: u64,
}

impl Reached {
    pub(super) fn of(head: &Head) -> Self {
        Self {
            floor: head.floor(),
            last: head.last(),
        }
    }
}

impl Pauses {
    /// SQLite could not read a page in this part of a transaction. After a failure of the frame, all upkeep
    /// waits: appends alone do not write the state.
    pub(super) fn add(&mut self, work: Work, reached: Reached) {
        match work {
            Work::Append => {}
            Work::Upkeep(part) => self.add_for_page(part, reached),
            Work::Frame => {
                for part in Upkeep::ALL {
                    self.add_for_page(part, reached);
                }
            }
        }
    }

    /// If SQLite cannot read a page, it commits nothing of the transaction, so the appends beside the upkeep
    /// fail. Each time, the part that needs the page waits twice as long.
    fn add_for_page(&mut self, part: Upkeep, reached: Reached) {
        let Pause { until, page } = &mut self.0[part as usize];
        let before = page.take().map_or(Duration::ZERO, |page| page.pause);
        let pause = (2 * before).clamp(RETRY, LONGEST_PAUSE);
        *page = Some(Page { pause, reached });
        *until = clock::now().checked_add(pause);
    }

    /// Something else is damaged that this part needs. Returns whether that was not known.
    pub(super) fn add_for_row(&mut self, part: Upkeep) -> bool {
        let until = clock::now().checked_add(RETRY);
        let before = std::mem::replace(&mut self.0[part as usize].until, until);
        before.is_none()
    }

    /// This part did not fail, unless it is paused.
    pub(super) fn note_success(&mut self, part: Upkeep) {
        if !self.is_paused(part) {
            self.0[part as usize].until = None;
        }
    }

    /// How far this part got when it could not read a page.
    pub(super) fn reached(&self, part: Upkeep) -> Option<Reached> {
        Some(self.0[part as usize].page.as_ref()?.reached)
    }

    /// This part could read the page, or does not need it any more.
    pub(super) fn forget_page(&mut self, part: Upkeep) {
        self.0[part as usize].page = None;
    }

    pub(super) fn is_paused(&self, part: Upkeep) -> bool {
        self.until(part).is_some_and(|until| clock::now() < until)
    }

    /// When this part is tried again.
    pub(super) fn until(&self, part: Upkeep) -> Option<Instant> {
        self.0[part as usize].until
    }
}

#[cfg(test)]
impl Pauses {
    /// Ends all pauses, as if their time were over.
    pub(super) fn end(&mut self) {
        for pause in &mut self.0 {
            pause.until = pause.until.map(|_| clock::now());
        }
    }

    /// How long this part has waited at last because a page could not be read.
    pub(super) fn for_page(&self, part: Upkeep) -> Option<Duration> {
        Some(self.0[part as usize].page.as_ref()?.pause)
    }
}
