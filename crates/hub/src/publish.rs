//! Owns `Publish`: an event on its way into the log and back.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tidings_proto::{EntryCheck, Event, Gap, Position};

use crate::confirm::{Confirmation, Outcome};
use crate::follow::{Continuity, check_at, check_before_first_entry, continuity};
use crate::grant::CLOSED;
use crate::life::Life;
use crate::shared::Shared;
use crate::{ChannelName, Draft, EntryKind, Error, Hub, LogError};

/// The longest key, in bytes.
const MAX_KEY_BYTES: usize = 255;

type Running = Pin<Box<dyn Future<Output = Result<Position, Error>> + Send>>;

/// An event that is published when this is awaited: see [`Hub::publish`].
#[must_use = "nothing is published unless it is awaited"]
pub struct Publish {
    hub: Hub,
    draft: Option<Result<Draft, Error>>,
    running: Option<Running>,
}

impl Publish {
    pub(crate) fn new(hub: Hub, draft: Result<Draft, Error>) -> Self {
        Self {
            hub,
            draft: Some(draft),
            running: None,
        }
    }

    /// Publishes it once, however often it is tried: a repeat of the channel's key within
    /// [`KEY_LIFETIME`](crate::KEY_LIFETIME), 2 minutes, answers with the position of the first.
    ///
    /// Once the channel has ended, a repeat is [`Error::Ended`], as everything is.
    ///
    /// A key is 1 to 255 bytes; another one is [`Error::InvalidKey`].
    pub fn key(mut self, key: impl AsRef<str>) -> Self {
        let key = key.as_ref();
        if let Some(Ok(draft)) = &mut self.draft {
            draft.key = Some(key.into());
            if key.is_empty() || key.len() > MAX_KEY_BYTES {
                self.draft = Some(Err(Error::InvalidKey));
            }
        }
        self
    }
}

impl Future for Publish {
    type Output = Result<Position, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(draft) = self.draft.take() {
            let shared = Arc::clone(self.hub.shared());
            self.running = Some(Box::pin(async move { publish(&shared, draft?).await }));
        }
        match &mut self.running {
            Some(running) => running.as_mut().poll(cx),
            None => unreachable!("the first poll turns the draft into a running future"),
        }
    }
}

impl fmt::Debug for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publish").finish_non_exhaustive()
    }
}

/// What is to be kept of an event.
pub(crate) fn draft(shared: &Shared, channel: ChannelName, event: Event) -> Result<Draft, Error> {
    if event.data.is_none() {
        return Err(Error::NoData);
    }
    let is_reserved = |name: &str| name == Gap::EVENT_NAME || name == CLOSED.as_str();
    if event.event.as_ref().is_some_and(|name| is_reserved(name)) {
        return Err(Error::ReservedEvent);
    }
    // Its id is its position.
    let body = Event { id: None, ..event }.encode().into_bytes();
    let max = shared.settings.max_event_bytes;
    if body.len() > max {
        return Err(Error::TooLarge { max });
    }
    Ok(Draft {
        channel,
        kind: EntryKind::Event,
        body,
        key: None,
    })
}

/// The end of a channel.
pub(crate) fn end_draft(channel: ChannelName) -> Draft {
    Draft {
        channel,
        kind: EntryKind::End,
        body: Bytes::new(),
        key: None,
    }
}

/// Appends an entry, unless the hub is drained, and waits until it came back.
pub(crate) async fn publish(shared: &Arc<Shared>, draft: Draft) -> Result<Position, Error> {
    let _admitted = shared.admission.admit()?;
    append(shared, draft).await
}

/// Appends an entry and waits until it came back.
pub(crate) async fn append(shared: &Arc<Shared>, draft: Draft) -> Result<Position, Error> {
    let max = shared.settings.max_event_bytes;
    let life = shared.life().await?;
    let channel = draft.channel.clone();
    let has_ended = || life.ends().end_of(&channel).is_some();
    if has_ended() {
        shared.forget_ends(&life).await;
        if has_ended() {
            return Err(Error::Ended);
        }
    }
    let (content, high) = (draft.content(), life.high());
    let appended = shared.log.append(draft).await;
    let appended = appended.map_err(|error| match error {
        LogError::TooLarge => Error::TooLarge { max },
        error => Error::Log(error),
    })?;
    let kept = if appended.is_repeat {
        find_repeated(shared, &life, appended.seq).await?
    } else {
        let outcome = outcome(&life, appended.seq).await?;
        let is_ours = outcome.is_none_or(|outcome| outcome.content == content);
        // The log has fallen back if what is new stands where something was, or something else stands
        // where it was.
        let outcome = outcome.filter(|_| is_ours && appended.seq > high);
        outcome.map_or(Kept::InAnotherHistory, |outcome| Kept::new(outcome.check))
    };
    match kept {
        Kept::Delivered(check) => Ok(life.position(appended.seq, check)),
        Kept::AfterEnd => Err(Error::Ended),
        Kept::InAnotherHistory => {
            shared.recheck.notify_one();
            Err(Error::Unconfirmed)
        }
    }
}

/// How the log has kept an appended entry.
enum Kept {
    /// Subscribers receive it. Its check.
    Delivered(EntryCheck),
    /// After its channel's end, so no subscriber receives it.
    AfterEnd,
    /// Perhaps not at all: the log has fallen back since.
    InAnotherHistory,
}

impl Kept {
    fn new(check: Option<EntryCheck>) -> Self {
        check.map_or(Self::AfterEnd, Self::Delivered)
    }
}

/// What came of the entry at this place; `None` if that was long ago.
async fn outcome(life: &Life, seq: u64) -> Result<Option<Outcome>, Error> {
    let found = life.confirmations().find(seq);
    match found {
        Confirmation::Known(outcome) => Ok(Some(outcome)),
        Confirmation::Pending(outcome) => outcome.await.map(Some).map_err(|_| Error::Unconfirmed),
        Confirmation::Forgotten => Ok(None),
    }
}

/// How the log keeps the entry that a repeat of its key refers to.
async fn find_repeated(shared: &Shared, life: &Life, seq: u64) -> Result<Kept, Error> {
    let log = &*shared.log;
    let looked = async {
        let bounds = log.bounds().await?;
        check_at(log, &bounds, seq).await
    };
    let stood = looked.await.map_err(Error::Log)?;
    let check = match (outcome(life, seq).await?, stood) {
        (Some(outcome), Some(stood)) if outcome.check.is_some_and(|check| check != stood) => {
            return Ok(Kept::InAnotherHistory);
        }
        (Some(outcome), _) => outcome.check,
        // What was forgotten since has a place and no check any more: who resumes from it is told that
        // it was trimmed, which is so.
        (None, stood) => Some(stood.unwrap_or_else(check_before_first_entry)),
    };
    let (continuity, _) = continuity(log, life).await.map_err(Error::Log)?;
    Ok(match continuity {
        Continuity::Whole => Kept::new(check),
        Continuity::Missed | Continuity::Broken => Kept::InAnotherHistory,
    })
}
