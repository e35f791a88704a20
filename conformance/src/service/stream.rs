//! `Stream`: a session, and the callbacks that report its events.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use tidings::client::{Error, Lifecycle, Session};
use tidings::{Event, EventId};
use tokio::sync::Notify;
use tokio::sync::mpsc::{Sender, UnboundedReceiver, UnboundedSender, channel, unbounded_channel};
use tokio::task::{AbortHandle, spawn};

use super::callbacks::{Callbacks, Message};
use super::params::Params;
use crate::chain;

/// The most messages that wait for the callbacks before them.
const QUEUED: usize = 16;

/// A stream that is read until this is dropped.
#[derive(Debug)]
pub(crate) struct Stream {
    task: AbortHandle,
    restart: Arc<Notify>,
}

impl Stream {
    pub(crate) fn start(params: Params) -> Self {
        let restart = Arc::new(Notify::new());
        let task = spawn(run(params, Arc::clone(&restart))).abort_handle();
        Self { task, restart }
    }

    /// Drops the connection and reconnects at once, as after a lost connection. Does nothing to a
    /// stream that is over.
    pub(crate) fn restart(&self) {
        self.restart.notify_one();
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(params: Params, restart: Arc<Notify>) {
    let mut callbacks = Callbacks::to(params.callback_url.clone());
    let (queue, mut queued) = channel(QUEUED);
    let report = async {
        while let Some(message) = queued.recv().await {
            callbacks.post(&message).await;
        }
    };
    tokio::join!(read(params, restart, queue), report);
}

/// Queues the messages of a session, and of the next one after a restart, until one is over. While
/// the queue is full, nothing is read.
async fn read(params: Params, restart: Arc<Notify>, queue: Sender<Message>) {
    let mut reading = Reading::start(&params, params.last_event_id.clone());
    loop {
        let mut is_over = false;
        let message = tokio::select! {
            biased;
            () = restart.notified() => {
                let id = reading.last_event_id();
                reading = Reading::start(&params, id);
                continue;
            }
            Some(lost) = reading.lost.recv() => lost,
            next = reading.session.next() => {
                // The same poll may have lost a connection before this item.
                while let Ok(lost) = reading.lost.try_recv() {
                    queue.send(lost).await.ok();
                }
                is_over = !matches!(next, Ok(Some(_)));
                message_of(next)
            }
        };
        // The queue closes only together with this future.
        queue.send(message).await.ok();
        if is_over {
            return;
        }
    }
}

/// The message that reports a session's next item or its end.
fn message_of(next: Result<Option<Event>, Error>) -> Message {
    let error = match next {
        Ok(Some(event)) => return event.into(),
        Ok(None) => "the server ended the stream for good".into(),
        Err(error) => chain(&error),
    };
    Message::Error { error }
}

/// A session, and the connections that it lost.
struct Reading {
    session: Opening,
    /// Unbounded, but it holds only the messages of one poll: they are queued before the next poll.
    lost: UnboundedReceiver<Message>,
    resumed_after: Option<EventId>,
}

/// A session that opens, or is open.
enum Opening {
    Opens(Pin<Box<dyn Future<Output = Result<Session, Error>> + Send>>),
    Open(Session),
}

impl Reading {
    fn start(params: &Params, last_event_id: Option<EventId>) -> Self {
        let (sender, lost) = unbounded_channel();
        let request = params
            .request(last_event_id.clone())
            .on_lifecycle(report_losses(sender));
        Self {
            session: Opening::Opens(Box::pin(request.open())),
            lost,
            resumed_after: last_event_id,
        }
    }

    fn last_event_id(&self) -> Option<EventId> {
        match &self.session {
            Opening::Opens(_) => self.resumed_after.clone(),
            Opening::Open(session) => session.last_event_id().cloned(),
        }
    }
}

impl Opening {
    async fn next(&mut self) -> Result<Option<Event>, Error> {
        loop {
            match self {
                Self::Opens(opens) => {
                    let session = opens.await?;
                    *self = Self::Open(session);
                }
                Self::Open(session) => return session.try_next().await,
            }
        }
    }
}

/// Sends a message for each lost connection after which the session reconnects. `read` reports the
/// end of the session.
fn report_losses(lost: UnboundedSender<Message>) -> impl Fn(Lifecycle<'_>) + Send + Sync {
    let why = Mutex::new(String::new());
    move |lifecycle| {
        let mut why = why.lock().unwrap_or_else(PoisonError::into_inner);
        match lifecycle {
            Lifecycle::Lost { error, .. } => {
                *why = error.map_or_else(|| "the stream ended".to_owned(), |error| chain(error));
            }
            Lifecycle::Waiting { attempt, delay } => {
                let error = format!("{why}; attempt {attempt} follows in {delay:?}");
                // A closed stream reports nothing.
                lost.send(Message::Error { error }).ok();
            }
            _ => {}
        }
    }
}
