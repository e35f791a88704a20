//! Owns `Publish`: an event on its way into the log and back.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tidings_proto::{Event, Gap, Position};

use crate::confirm::{Found, Outcome};
use crate::follow::{check_at, check_of_nothing};
use crate::grant::CLOSED;
use crate::life::Life;
use crate::shared::Shared;
use crate::{Appended, ChannelName, Draft, EntryKind, Error, Hub, LogError};

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
            // It is never without both.
            None => Poll::Pending,
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

async fn publish(shared: &Arc<Shared>, draft: Draft) -> Result<Position, Error> {
    let _admitted = shared.admission.admit()?;
    append(shared, draft).await
}

/// Appends an entry and waits until it came back.
pub(crate) async fn append(shared: &Arc<Shared>, draft: Draft) -> Result<Position, Error> {
    let max = shared.settings.max_event_bytes;
    let life = shared.life().await?;
    let channel = draft.channel.clone();
    let has_ended = || life.ends().of(&channel).is_some();
    if has_ended() {
        shared.forget_ends(&life).await;
        if has_ended() {
            return Err(Error::Ended);
        }
    }
    let appended = shared.log.append(draft).await;
    let appended = appended.map_err(|error| match error {
        LogError::TooLarge => Error::TooLarge { max },
        error => Error::Log(error),
    })?;
    let outcome = outcome(shared, &life, appended).await?;
    let check = outcome.ok_or(Error::Ended)?;
    Ok(life.position(appended.seq, check))
}

async fn outcome(shared: &Shared, life: &Life, appended: Appended) -> Result<Outcome, Error> {
    let found = life.confirms().find(appended.seq);
    match found {
        Found::Now(outcome) => Ok(outcome),
        Found::Later(outcome) => outcome.await.map_err(|_| Error::Unconfirmed),
        // A repeat of what came back long ago.
        Found::Past => {
            let bounds = shared.log.bounds().await.map_err(Error::Log)?;
            let check = check_at(&*shared.log, &bounds, appended.seq).await;
            // What was forgotten since has a place and no check any more: who resumes from it is
            // told that it was trimmed, which is so.
            Ok(Some(
                check.map_err(Error::Log)?.unwrap_or_else(check_of_nothing),
            ))
        }
    }
}
