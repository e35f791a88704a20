//! `Producer`: a guard for the task that fills a channel, with last words in case it fails.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tidings_proto::{Event, Position};
use tokio::time::Instant;

use crate::publish::{Publish, append, draft};
use crate::shared::Shared;
use crate::{ChannelName, Draft, Hub, PublishError, PublishErrorKind};

/// How often the last words and the end are tried, and the delay after the first attempt; the delay grows
/// with each.
const ATTEMPTS: u32 = 6;
const DELAY: Duration = Duration::from_millis(200);

/// A guard for the task that fills a channel; [`Channel::producer`](crate::Channel::producer)
/// returns it. It ends the channel even if the task fails.
///
/// [`finish`](Self::finish) ends the channel. If the producer is dropped before that, because the
/// task failed, panicked or was cancelled, the hub publishes the last words and then ends the
/// channel, so every subscriber learns that the channel is incomplete.
///
/// The last words are published in the hub's runtime, because a drop cannot wait; [`Hub::drain`]
/// waits for them. The hub tries 6 times over about 3 s, or until the log has not responded for the
/// [`log_timeout`](crate::HubBuilder::log_timeout), and then logs an error. It ends the channel in
/// either case, with as many attempts of its own. If the runtime ends before that, the hub logs an error
/// with the name of the channel. A process that is killed publishes no last words: in a log that
/// outlives the process, the channel stays open until you end it.
pub struct Producer {
    hub: Hub,
    channel: ChannelName,
    /// `None` once it is finished.
    last_words: Option<Draft>,
}

impl Producer {
    pub(crate) fn new(hub: Hub, channel: ChannelName, last_words: Draft) -> Self {
        Self {
            hub,
            channel,
            last_words: Some(last_words),
        }
    }

    /// Publishes an event to the channel; see [`Hub::publish`].
    ///
    /// # Errors
    /// As [`Hub::publish`]; [`PublishErrorKind::Ended`] if the channel was ended by other means.
    pub fn publish(&self, event: Event) -> Publish {
        let draft = draft(self.hub.shared(), self.channel.clone(), event);
        Publish::new(self.hub.clone(), draft)
    }

    /// Replaces the last words.
    ///
    /// # Errors
    /// As [`Hub::publish`] if the event could not be published. The previous last words are kept.
    pub fn set_last_words(&mut self, event: Event) -> Result<(), PublishError> {
        let words = draft(self.hub.shared(), self.channel.clone(), event)?;
        self.last_words = Some(words);
        Ok(())
    }

    /// Ends the channel: each subscriber receives every event before the end, and then its stream ends.
    ///
    /// # Errors
    /// As [`Channel::end`](crate::Channel::end). After an error, the producer is dropped
    /// unfinished, so the hub still tries to publish the last words and to end the channel.
    ///
    /// # Cancel safety
    /// If the future is dropped before it is ready, the producer is dropped unfinished.
    pub async fn finish(mut self) -> Result<Position, PublishError> {
        let draft = Draft::end(self.channel.clone());
        let end = Publish::new(self.hub.clone(), Ok(draft)).await?;
        self.last_words = None;
        Ok(end)
    }
}

// Shows no last words.
impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("channel", &self.channel)
            .finish_non_exhaustive()
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        let Some(words) = self.last_words.take() else {
            return;
        };
        let shared = self.hub.shared();
        let unfinished = Unfinished(Some(self.channel.clone()));
        let Ok(runtime) = shared.runtime() else {
            return;
        };
        let admitted = shared.admission.admit_last_words();
        // Keeps the hub alive until the last words are published: this may be its last handle.
        let hub = self.hub.clone();
        runtime.spawn(async move {
            append_last_words(hub.shared(), words).await;
            unfinished.finish();
            drop((admitted, hub));
        });
    }
}

/// Logs an error if last words are dropped, for example with their runtime, before they were tried.
struct Unfinished(Option<ChannelName>);

impl Unfinished {
    fn finish(mut self) {
        self.0 = None;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(channel) = &self.0 {
            tracing::error!(
                %channel,
                "the last words of a producer may be lost, and its channel open: there is no tokio \
                 runtime, or it has ended"
            );
        }
    }
}

/// Appends the last words, and then the end, whether or not the words were appended.
async fn append_last_words(shared: &Arc<Shared>, words: Draft) {
    let channel = words.channel.clone();
    // Under a key, so that a repeated attempt stores them once. A second end has no effect, so an end needs
    // no key, and a log that accepts none cannot prevent it.
    let words = words.key(format!("words {:x}", fastrand::u128(..)));
    if let Err(error) = append_with_retries(shared, words).await {
        tracing::error!(%channel, %error, cause = cause(&error), "last words were not published");
    }
    if let Err(error) = append_with_retries(shared, Draft::end(channel.clone())).await {
        tracing::error!(%channel, %error, cause = cause(&error), "a channel was not ended");
    }
}

async fn append_with_retries(shared: &Arc<Shared>, mut draft: Draft) -> Result<(), PublishError> {
    let start = Instant::now();
    let mut may_be_stored = false;
    let mut attempt = 1;
    loop {
        let admitted = shared.admission.admit_last_words();
        let error = match append(shared, draft.clone(), admitted).await {
            Ok(_) => return Ok(()),
            // The channel was ended by other means.
            Err(error) if error.kind() == PublishErrorKind::Ended => return Ok(()),
            Err(error) => error,
        };
        if attempt == ATTEMPTS || start.elapsed() >= shared.settings.log_timeout {
            return Err(error);
        }
        may_be_stored |= !error.is_refusal();
        if !may_be_stored {
            // The log may refuse only the key. Nothing is stored yet, so nothing is stored twice.
            draft.key = None;
        }
        tokio::time::sleep(DELAY * attempt).await;
        attempt += 1;
    }
}

/// The cause of an error, for the trace.
fn cause(error: &PublishError) -> String {
    std::error::Error::source(error).map_or_else(String::new, ToString::to_string)
}
