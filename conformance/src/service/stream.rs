//! Owns `Stream`: a session, and the callbacks that tell what becomes of it.

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

/// How many messages wait for the callbacks before them.
const QUEUED: usize = 16;

/// A stream that is heard, until it is dropped.
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

    /// Drops the connection and connects again at once, as one that has been lost. Nothing becomes
    /// of a stream that is over.
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
    tokio::join!(hear(params, restart, queue), report);
}

/// Queues what becomes of a session, and the next one after a restart, until one is over. While
/// the queue is full nothing is heard.
async fn hear(params: Params, restart: Arc<Notify>, queue: Sender<Message>) {
    let mut hearing = Hearing::start(&params, params.last_event_id.clone());
    loop {
        let mut is_over = false;
        let message = tokio::select! {
            biased;
            () = restart.notified() => {
                let id = hearing.last_event_id();
                hearing = Hearing::start(&params, id);
                continue;
            }
            Some(lost) = hearing.lost.recv() => lost,
            next = hearing.session.next() => {
                // In the same poll it may have lost a connection before.
                while let Ok(lost) = hearing.lost.try_recv() {
                    queue.send(lost).await.ok();
                }
                is_over = !matches!(next, Ok(Some(_)));
                told(next)
            }
        };
        // It is closed only together with this.
        queue.send(message).await.ok();
        if is_over {
            return;
        }
    }
}

/// What a session's next item, or its end, is reported as.
fn told(next: Result<Option<Event>, Error>) -> Message {
    let error = match next {
        Ok(Some(event)) => return event.into(),
        Ok(None) => "the server has nothing more to say".into(),
        Err(error) => chain(&error),
    };
    Message::Error { error }
}

/// A session, and the connections that it lost.
struct Hearing {
    session: Opening,
    /// Without a limit, but what comes of one poll: there is no other before it is queued.
    lost: UnboundedReceiver<Message>,
    resumed_after: Option<EventId>,
}

/// A session that is opened before its first event.
enum Opening {
    Opens(Pin<Box<dyn Future<Output = Result<Session, Error>> + Send>>),
    Open(Session),
}

impl Hearing {
    fn start(params: &Params, last_event_id: Option<EventId>) -> Self {
        let (sender, lost) = unbounded_channel();
        let request = params
            .request(last_event_id.clone())
            .on_lifecycle(tell(sender));
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

/// Sends a message for each connection that is lost and will be made again; the end of a session is
/// told by whoever takes its events.
fn tell(lost: UnboundedSender<Message>) -> impl Fn(Lifecycle<'_>) + Send + Sync {
    let why = Mutex::new(String::new());
    move |lifecycle| {
        let mut why = why.lock().unwrap_or_else(PoisonError::into_inner);
        match lifecycle {
            Lifecycle::Lost { error } => {
                *why = error.map_or_else(|| "the stream ended".to_owned(), |error| chain(error));
            }
            Lifecycle::Waiting { attempt, delay } => {
                let error = format!("{why}; attempt {attempt} follows in {delay:?}");
                // Nobody is told of a stream that is closed.
                lost.send(Message::Error { error }).ok();
            }
            _ => {}
        }
    }
}
