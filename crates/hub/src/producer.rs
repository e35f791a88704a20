//! Owns `Producer`: the one who fills a channel, and its last words.

use std::sync::Arc;
use std::time::Duration;

use tidings_proto::{Event, Position};

use crate::publish::{Publish, append, draft, end_draft};
use crate::shared::Shared;
use crate::{ChannelName, Draft, Error, Hub};

/// How often last words are tried, and how long apart.
const ATTEMPTS: u32 = 6;
const DELAY: Duration = Duration::from_millis(200);

/// Who fills a channel, and ends it whatever becomes of the task that does: see
/// [`Channel::producer`](crate::Channel::producer).
///
/// [`finish`](Self::finish) ends the channel. Dropped before that, because the task failed, panicked or
/// was cancelled, its last words are published and the channel ends: whoever reads it hears that it was
/// not whole. A drop cannot wait, so the hub's own runtime does that, and [`Hub::drain`] waits for it. A
/// process that is killed says no last words; in a log that outlives it the channel stays open until
/// somebody ends it.
#[derive(Debug)]
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

    /// Publishes to the channel, as [`Hub::publish`] does.
    ///
    /// # Errors
    /// As [`Hub::publish`]; [`Error::Ended`] if somebody else has ended the channel.
    pub fn publish(&self, event: Event) -> Publish {
        let draft = draft(self.hub.shared(), self.channel.clone(), event);
        Publish::new(self.hub.clone(), draft)
    }

    /// Has it say something else if it is dropped unfinished.
    ///
    /// # Errors
    /// As [`Hub::publish`] for an event that it would refuse; what it would have said stays.
    pub fn set_last_words(&mut self, event: Event) -> Result<(), Error> {
        let words = draft(self.hub.shared(), self.channel.clone(), event)?;
        self.last_words = Some(words);
        Ok(())
    }

    /// Ends the channel: whoever reads it hears all up to here, and then the end of the stream.
    ///
    /// # Errors
    /// As [`Channel::end`](crate::Channel::end). The last words are said then too, as the hub may still
    /// do what it could not yet.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, it is as if the producer were.
    pub async fn finish(mut self) -> Result<Position, Error> {
        let end = self.hub.end(self.channel.clone()).await?;
        self.last_words = None;
        Ok(end)
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        let Some(words) = self.last_words.take() else {
            return;
        };
        let shared = self.hub.shared();
        let Ok(runtime) = shared.runtime() else {
            tracing::error!(channel = %self.channel, "last words are lost: there is no runtime");
            return;
        };
        let admitted = shared.admission.admit_last_words();
        // A handle is held until they are said: this may be the last.
        let hub = self.hub.clone();
        runtime.spawn(async move {
            say(hub.shared(), words).await;
            drop((admitted, hub));
        });
    }
}

/// Appends the last words and the end, under keys, so that none stands there twice.
async fn say(shared: &Arc<Shared>, words: Draft) {
    let nonce = fastrand::u128(..);
    let end = end_draft(words.channel.clone());
    for (what, draft) in [("words", words), ("end", end)] {
        let draft = Draft {
            key: Some(format!("{what} {nonce:x}").into()),
            ..draft
        };
        if let Err(error) = append_surely(shared, draft).await {
            tracing::error!(%error, "last words were not kept");
            return;
        }
    }
}

async fn append_surely(shared: &Arc<Shared>, draft: Draft) -> Result<(), Error> {
    let mut attempt = 1;
    loop {
        match append(shared, draft.clone()).await {
            // Or somebody else has ended it.
            Ok(_) | Err(Error::Ended) => return Ok(()),
            Err(error) if attempt == ATTEMPTS => return Err(error),
            Err(_) => tokio::time::sleep(DELAY * attempt).await,
        }
        attempt += 1;
    }
}
