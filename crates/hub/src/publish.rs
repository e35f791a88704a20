//! `Publish`: the future of an event, or of the end of a channel, on its way into the log and back.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tidings_proto::{EntryCheck, Event, Gap, Position};

use crate::admission::Admitted;
use crate::confirm::{Confirmation, Outcome};
use crate::continuity::{Continuity, continuity};
use crate::grant::CLOSED;
use crate::life::Life;
use crate::publish_error::PublishFailure;
use crate::shared::Shared;
use crate::{
    ChannelName, Draft, EntryKind, Hub, Located, LogError, LogErrorKind, Place, PublishError,
    PublishReceipt, Receipt, Scope, Start,
};

/// The longest key, in bytes.
const MAX_KEY_BYTES: usize = 255;

type Running = Pin<Box<dyn Future<Output = Result<Receipt, PublishError>> + Send>>;

/// The future that [`Hub::publish`] and [`Channel::end`](crate::Channel::end) return. The event is published,
/// or the channel ends, when you await it.
#[must_use = "an event is published only if this is awaited"]
pub struct Publish {
    hub: Hub,
    stage: Stage,
}

enum Stage {
    New(Result<Draft, PublishError>),
    Running(Running),
    Done,
}

impl Publish {
    pub(crate) fn new(hub: Hub, draft: Result<Draft, PublishError>) -> Self {
        let stage = Stage::New(draft);
        Self { hub, stage }
    }

    /// Sets a key that makes the publication safe to repeat: the channel stores only one event under a key.
    ///
    /// A repeat within [`KEY_LIFETIME`](crate::KEY_LIFETIME), 2 minutes, returns the position of
    /// the first event, even if the channel has ended since. With a log that lacks
    /// [`Abilities::refuses_after_end`](crate::Abilities::refuses_after_end), a repeat after the end fails
    /// with [`PublishErrorKind::Ended`](crate::PublishErrorKind::Ended).
    ///
    /// A key has 1 to 255 bytes; any other fails with
    /// [`PublishErrorKind::InvalidKey`](crate::PublishErrorKind::InvalidKey). Set it before the
    /// first poll; later, it has no effect.
    ///
    /// ```
    /// use tidings_hub::{Event, Hub};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let hub = Hub::in_memory();
    /// let first = hub.publish("orders", Event::new("17")).key("order-17").await?;
    /// let repeat = hub.publish("orders", Event::new("17")).key("order-17").await?;
    /// assert_eq!(first, repeat);
    /// # Ok(())
    /// # }
    /// ```
    pub fn key(mut self, key: impl AsRef<str>) -> Self {
        let key = key.as_ref();
        if let Stage::New(drafted) = &mut self.stage
            && let Ok(draft) = drafted
        {
            if key.is_empty() || key.len() > MAX_KEY_BYTES {
                *drafted = Err(PublishFailure::Key { bytes: key.len() }.into());
            } else {
                draft.key = Some(log_key(draft.kind, key));
            }
        }
        self
    }

    /// The same publication, as a future of a [`Receipt`]: the position, and whether the channel had stored
    /// an event under the [key](Self::key) before.
    ///
    /// ```
    /// use tidings_hub::{Event, Hub};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let hub = Hub::in_memory();
    /// let order = || hub.publish("orders", Event::new("17")).key("order-17");
    /// assert!(!order().receipt().await?.is_repeat);
    /// assert!(order().receipt().await?.is_repeat);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// As [`Hub::publish`].
    pub fn receipt(self) -> PublishReceipt {
        PublishReceipt::new(self)
    }

    pub(crate) fn poll_receipt(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Receipt, PublishError>> {
        loop {
            match std::mem::replace(&mut self.stage, Stage::Done) {
                Stage::New(draft) => {
                    let shared = Arc::clone(self.hub.shared());
                    let running = async move { publish(&shared, draft?).await };
                    self.stage = Stage::Running(Box::pin(running));
                }
                Stage::Running(mut running) => {
                    let polled = running.as_mut().poll(cx);
                    if polled.is_pending() {
                        self.stage = Stage::Running(running);
                    }
                    return polled;
                }
                Stage::Done => unreachable!("a `Publish` is not polled again after its result"),
            }
        }
    }
}

impl Future for Publish {
    type Output = Result<Position, PublishError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let receipt = ready!(self.poll_receipt(cx))?;
        Poll::Ready(Ok(receipt.position))
    }
}

impl fmt::Debug for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publish").finish_non_exhaustive()
    }
}

/// The key under which the log stores it. An end has keys that no event can have, as they are too long:
/// otherwise an end under the key of an event would change nothing, and seem to be confirmed.
fn log_key(kind: EntryKind, key: &str) -> Arc<str> {
    match kind {
        EntryKind::Event => key.into(),
        EntryKind::End => format!("{:width$}{key}", "end", width = MAX_KEY_BYTES + 1).into(),
    }
}

/// The draft of an event, or why it cannot be published.
pub(crate) fn draft(
    shared: &Shared,
    channel: ChannelName,
    event: Event,
) -> Result<Draft, PublishError> {
    if event.data.is_none() {
        return Err(PublishFailure::NoData.into());
    }
    let name = event.event.as_deref().unwrap_or_default();
    for reserved in [Gap::EVENT_NAME, CLOSED] {
        if name == reserved {
            return Err(PublishFailure::ReservedName(reserved).into());
        }
    }
    // The position of the event becomes its ID.
    let body = Event { id: None, ..event }.encode().into_bytes();
    let (bytes, max) = (body.len(), shared.settings.max_event_bytes);
    if bytes > max {
        return Err(PublishFailure::TooLarge { bytes, max }.into());
    }
    Ok(Draft::event(channel, body))
}

/// Appends an entry and waits until the tail has returned it, unless the hub is drained.
pub(crate) async fn publish(shared: &Arc<Shared>, draft: Draft) -> Result<Receipt, PublishError> {
    let admitted = shared.admission.admit()?;
    append(shared, draft, admitted).await
}

/// Appends an entry and waits until the tail has returned it.
pub(crate) async fn append(
    shared: &Arc<Shared>,
    draft: Draft,
    admitted: Admitted,
) -> Result<Receipt, PublishError> {
    let life = shared.life().await?;
    if !shared.log.abilities.refuses_after_end && has_ended(shared, &life, &draft).await? {
        return Err(PublishFailure::Ended.into());
    }
    if admitted.is_after_drain() {
        return Err(PublishFailure::Draining.into());
    }
    let (content, high) = (draft.content(), life.high());
    let appended = shared.log.append(draft).await;
    let appended = appended.map_err(PublishError::append)?;
    admitted.finish(appended.seq);
    let kept = if appended.is_repeat {
        find_repeated(shared, &life, appended.seq).await?
    } else {
        let outcome = outcome(&life, appended.seq).await?;
        let is_ours = outcome.is_none_or(|outcome| outcome.content == content);
        // The log has lost entries if the new entry has the number of an older one, or if the tail has
        // returned another entry under its number.
        let outcome = outcome.filter(|_| is_ours && appended.seq > high);
        outcome.map_or(Kept::InAnotherHistory, |outcome| Kept::new(outcome.check))
    };
    match kept {
        Kept::Delivered(check) => Ok(Receipt {
            position: life.position(appended.seq, check),
            is_repeat: appended.is_repeat,
        }),
        Kept::AfterEnd => Err(PublishFailure::Ended.into()),
        Kept::InAnotherHistory => {
            shared.recheck.notify_one();
            // A caller that repeats it at once must not keep the hub's task from running.
            tokio::task::yield_now().await;
            Err(PublishFailure::Unconfirmed(None).into())
        }
    }
}

/// Whether the hub knows of an end of the draft's channel.
async fn has_ended(shared: &Shared, life: &Life, draft: &Draft) -> Result<bool, PublishError> {
    let has_ended = || life.ends().end_of(&draft.channel).is_some();
    if has_ended() {
        let forgotten = shared.forget_ends(life).await;
        forgotten.map_err(PublishError::log)?;
    }
    Ok(has_ended())
}

/// How the log has kept an appended entry.
enum Kept {
    /// Subscribers receive it. Its check.
    Delivered(EntryCheck),
    /// After its channel's end, so no subscriber receives it.
    AfterEnd,
    /// Perhaps not at all: the log has lost entries since.
    InAnotherHistory,
}

impl Kept {
    fn new(check: Option<EntryCheck>) -> Self {
        check.map_or(Self::AfterEnd, Self::Delivered)
    }
}

/// The outcome of the entry with this number; `None` if the tail returned it too long ago to be
/// remembered.
async fn outcome(life: &Life, seq: u64) -> Result<Option<Outcome>, PublishError> {
    let found = life.confirmations().find(seq);
    match found {
        Confirmation::Known(outcome) => Ok(Some(outcome)),
        Confirmation::Pending(outcome) => match outcome.await {
            Ok(outcome) => Ok(Some(outcome)),
            Err(_) => Err(PublishFailure::Unconfirmed(None).into()),
        },
        Confirmation::Forgotten => Ok(None),
    }
}

/// How the log keeps the entry that a repeat of its key refers to.
async fn find_repeated(shared: &Shared, life: &Life, seq: u64) -> Result<Kept, PublishError> {
    // Before the outcome is awaited: if the log loses the entry meanwhile, the outcome is that of another
    // one.
    let stored = find_stored(shared, seq).await;
    // It may be stored, so no error of the log may say that it is not.
    let stored = stored.map_err(|error| PublishFailure::Unconfirmed(Some(error)))?;
    let outcome = outcome(life, seq).await?;
    let continuity = continuity(&shared.log, life).await;
    // After a floor that the life has not reached, nobody knows what was there before.
    let continuity = continuity.map_err(|error| PublishFailure::Unconfirmed(Some(error)))?;
    if continuity.0 != Continuity::Whole {
        return Ok(Kept::InAnotherHistory);
    }
    Ok(match (outcome, stored) {
        (_, Stored::Lost) => Kept::InAnotherHistory,
        (Some(outcome), Stored::Held(stored))
            if outcome.check.is_some_and(|check| check != stored) =>
        {
            Kept::InAnotherHistory
        }
        (Some(outcome), _) => Kept::new(outcome.check),
        (None, Stored::Held(check)) => Kept::Delivered(check),
        // Nobody knows its check any more. The publication was confirmed, so it is no error. A client that
        // resumes from this position needs no check, because the log has none to compare.
        (None, Stored::Removed) => Kept::Delivered(Place::start().check),
    })
}

/// An entry that was appended, as the log has it now.
enum Stored {
    /// The log holds an entry with this check under its number.
    Held(EntryCheck),
    /// The retention has removed it.
    Removed,
    /// The log has lost it.
    Lost,
}

async fn find_stored(shared: &Shared, seq: u64) -> Result<Stored, LogError> {
    let newest = shared.log.bounds().await?.newest();
    let start = Start::Skip {
        after: seq,
        to: seq,
    };
    match shared.log.locate(start, Scope::all(&newest)).await {
        Ok(Located::Held { place, .. }) if place.seq == seq => Ok(Stored::Held(place.check)),
        Ok(Located::Held { place, .. }) if place.seq > seq => Ok(Stored::Removed),
        Ok(Located::Held { .. } | Located::Unknown { .. }) => Ok(Stored::Lost),
        Err(error) if matches!(error.kind(), LogErrorKind::Rewound { .. }) => Ok(Stored::Lost),
        Err(error) => Err(error),
    }
}
