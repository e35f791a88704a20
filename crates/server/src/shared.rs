//! Owns what a session's handles and its body share: the state machine, who may send, and who waits.

use std::future::poll_fn;
use std::mem;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Wake, Waker};
use std::time::Instant;

use tidings_proto::{EncodedEvents, Heartbeat, MAX_QUEUED_BYTES, SessionFrame, SessionState};
use tokio::sync::{Notify, Semaphore, TryAcquireError};

use crate::turn::{Abandoned, Left, Sent, Start, Turn};
use crate::watch::Watchers;
use crate::work::HandlerFuture;
use crate::{Error, Reason, TrySendError};

/// Also the waker of the handler and of the timer: it remembers that they were woken for as long
/// as it takes until they are polled. The waker of the body's task would not do, as a connection
/// that cannot write may be woken and leave the body alone.
#[derive(Debug)]
pub(crate) struct Shared {
    inner: Mutex<Inner>,
    /// How many more bytes may be queued; given to those who wait in their order. Closed once the
    /// session has ended.
    room: Semaphore,
    /// Told when what a flush waits for was written, and when the session ends.
    progress: Notify,
    /// Told of each heartbeat, and when the session ends.
    pub(crate) watchers: Watchers,
}

#[derive(Default)]
struct Inner {
    state: SessionState,
    /// Why it ended.
    reason: Option<Reason>,
    /// Of the task that polls the body.
    body: Option<Waker>,
    /// The body is being polled, and looks at the state before it answers.
    body_is_awake: bool,
    /// The handler or the timer was woken since it was polled.
    is_woken: bool,
    /// What is to run beside the handler, and was not handed to the body yet.
    spawned: Vec<HandlerFuture>,
    sent: Sent,
    /// Those of the events sent that the body knows of.
    counted: u64,
    /// Bytes after which the connection has had a turn to write.
    written: u64,
    /// The furthest that a flush waits for.
    flushed_to: u64,
    /// The body is gone, and with it who would read what is queued.
    is_abandoned: bool,
    /// Bytes that were queued when it went.
    lost: u64,
}

/// What those who send and those who handle the session do.
impl Shared {
    pub(crate) fn new() -> Self {
        Self {
            inner: Mutex::default(),
            room: Semaphore::new(MAX_QUEUED_BYTES),
            progress: Notify::new(),
            watchers: Watchers::default(),
        }
    }

    /// Queues the events once there is room for them.
    pub(crate) fn send(&self, events: EncodedEvents) -> impl Future<Output = Result<(), Error>> {
        // By hand and small, as every handler has room for a send: an async block holds what it is
        // given twice. Few have to wait, so what that takes is apart.
        let mut events = Some(events);
        let mut waiting = None;
        poll_fn(move |cx| {
            if let Some(events) = events.take() {
                match self.try_send(events) {
                    Err(TrySendError::Full(events)) => {
                        waiting = Some(Box::pin(self.wait_and_send(events)));
                    }
                    result => return Poll::Ready(result.map_err(|_| Error::Closed)),
                }
            }
            match &mut waiting {
                Some(waiting) => waiting.as_mut().poll(cx),
                // Polled again after it was ready, which nobody does.
                None => Poll::Pending,
            }
        })
    }

    /// Queues the events in their turn.
    pub(crate) async fn wait_and_send(&self, events: EncodedEvents) -> Result<(), Error> {
        let room = self.room.acquire_many(room_of(events.len())).await;
        room.map_err(|_| Error::Closed)?.forget();
        self.queue(events).map_err(|_| Error::Closed)
    }

    /// Queues the events if there is room for them now.
    pub(crate) fn try_send(&self, events: EncodedEvents) -> Result<(), TrySendError> {
        match self.room.try_acquire_many(room_of(events.len())) {
            // Given back when the events leave.
            Ok(room) => room.forget(),
            Err(TryAcquireError::NoPermits) => return Err(TrySendError::Full(events)),
            Err(TryAcquireError::Closed) => return Err(TrySendError::Closed(events)),
        }
        self.queue(events).map_err(TrySendError::Closed)
    }

    /// Whether a send of so many bytes would go at once.
    pub(crate) fn has_room(&self, bytes: usize) -> Result<bool, Error> {
        if self.room.is_closed() {
            return Err(Error::Closed);
        }
        Ok(self.room.available_permits() >= room_of(bytes) as usize)
    }

    /// Waits until there is room for so many bytes, and takes none of it.
    pub(crate) async fn wait_for_room(&self, bytes: usize) -> Result<(), Error> {
        let room = self.room.acquire_many(room_of(bytes)).await;
        room.map(drop).map_err(|_| Error::Closed)
    }

    /// Waits until what is queued by now has left, and the connection has had a turn to write it.
    pub(crate) async fn flush(&self) -> Result<(), Error> {
        let mark = self.change(|inner| {
            let mark = inner.sent.bytes + inner.state.queued_bytes() as u64 + inner.lost;
            inner.flushed_to = inner.flushed_to.max(mark);
            mark
        });
        self.until(|inner| {
            if inner.written >= mark {
                Some(Ok(()))
            } else {
                inner.is_abandoned.then_some(Err(Error::Closed))
            }
        })
        .await
    }

    /// Waits until nothing more can be sent.
    pub(crate) async fn closed(&self) {
        self.until(|inner| inner.state.is_ended().then_some(()))
            .await;
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().state.is_ended()
    }

    pub(crate) fn start_heartbeat(&self, heartbeat: Heartbeat, now: Instant) {
        let stale = self.change(|inner| {
            if inner.state.is_ended() {
                // What makes its events may hold the session, which would hold it for ever.
                return Some(heartbeat);
            }
            // The timer is to be looked at again.
            inner.is_woken = true;
            inner.state.handle_heartbeat(heartbeat, now)
        });
        drop(stale);
    }

    pub(crate) fn set_lifetime(&self, ends_at: Instant) {
        self.lock().state.handle_lifetime(ends_at);
    }

    /// Runs a future beside the handler; not if the session has ended.
    pub(crate) fn spawn(&self, future: HandlerFuture) {
        let too_late = self.change(|inner| {
            if inner.state.is_ended() {
                return Some(future);
            }
            inner.spawned.push(future);
            inner.is_woken = true;
            None
        });
        drop(too_late);
    }

    /// Ends the session after what is queued. Says whether it had not ended before.
    pub(crate) fn end(&self, reason: Reason) -> bool {
        self.end_with(reason, EncodedEvents::default())
    }

    /// Ends the session after what is queued and this.
    pub(crate) fn end_with(&self, reason: Reason, last: EncodedEvents) -> bool {
        let was_open = self.change(|inner| {
            let was_open = !inner.state.is_ended();
            inner.state.handle_events(last);
            if reason == Reason::Failed {
                inner.state.handle_failure();
            } else {
                inner.state.handle_end();
            }
            inner.reason.get_or_insert(reason);
            was_open
        });
        self.wake_waiting();
        was_open
    }

    // Of those for whom there is room.
    fn queue(&self, events: EncodedEvents) -> Result<(), EncodedEvents> {
        if events.is_empty() && !self.is_closed() {
            // Nobody is woken for nothing.
            return Ok(());
        }
        // What is gathered with others is dropped, and must not be under the lock.
        let _held = events.bytes().clone();
        self.change(|inner| {
            if inner.state.is_ended() {
                return Err(events);
            }
            inner.sent.events += events.count() as u64;
            inner.state.handle_events(events);
            let queued = inner.state.queued_bytes();
            inner.sent.queue_high_mark = inner.sent.queue_high_mark.max(queued);
            Ok(())
        })
    }

    async fn until<T>(&self, mut look: impl FnMut(&Inner) -> Option<T>) -> T {
        loop {
            let mut progress = pin!(self.progress.notified());
            // Before the look, so that nothing is missed in between.
            progress.as_mut().enable();
            if let Some(found) = look(&self.lock()) {
                return found;
            }
            progress.await;
        }
    }
}

/// What the body does.
impl Shared {
    /// The connection has its turn to write. Says whether the body has more to do than to wait.
    pub(crate) fn yield_turn(&self, body: &Waker) -> bool {
        let stale;
        let has_work = {
            let mut inner = self.lock();
            stale = inner.set_body(body);
            inner.is_woken
                || inner.state.queued_bytes() > 0
                || inner.state.is_ended()
                // Those who flush are told at the body's next turn.
                || inner.flushed_to > inner.written
        };
        drop(stale);
        has_work
    }

    /// The body has its turn.
    pub(crate) fn start_turn(&self, body: &Waker) -> Start {
        let stale;
        let is_flushed;
        let mut start = {
            let mut inner = self.lock();
            stale = inner.set_body(body);
            inner.body_is_awake = true;
            is_flushed = inner.flushed_to > inner.written;
            inner.written = inner.sent.bytes;
            Start {
                is_woken: mem::take(&mut inner.is_woken),
                due: inner.state.poll_timeout(),
                spawned: mem::take(&mut inner.spawned),
            }
        };
        drop(stale);
        if is_flushed {
            self.progress.notify_waiters();
            // One who waited may have been the handler.
            start.is_woken |= mem::take(&mut self.lock().is_woken);
        }
        start
    }

    pub(crate) fn end_turn(&self, now: Instant) -> Turn {
        let turn = {
            let mut inner = self.lock();
            inner.body_is_awake = false;
            let frame = inner.state.poll_frame(now);
            let mut events = 0;
            if let Some(SessionFrame::Data(bytes)) = &frame {
                inner.sent.bytes += bytes.len() as u64;
                events = inner.sent.events - inner.counted;
                inner.counted = inner.sent.events;
            }
            Turn {
                frame,
                events,
                is_woken: inner.is_woken,
            }
        };
        if let Some(SessionFrame::Data(bytes)) = &turn.frame {
            self.room.add_permits(room_of(bytes.len()) as usize);
        }
        turn
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.lock().state.poll_timeout()
    }

    pub(crate) fn handle_timeout(&self, now: Instant) {
        let (beat, is_over) = {
            let mut inner = self.lock();
            let was_open = !inner.state.is_ended();
            inner.state.handle_timeout(now);
            let is_over = was_open && inner.state.is_ended();
            if is_over {
                inner.reason = Some(Reason::Lifetime);
            }
            (inner.state.poll_heartbeat(now), is_over)
        };
        if is_over {
            self.wake_waiting();
        }
        if let Some(beat) = beat {
            // A client that reads nothing is sent none on top of a full queue.
            self.try_send(beat.encode()).ok();
            self.watchers.beat();
        }
    }

    /// The body is gone. Says what became of the session.
    pub(crate) fn abandon(&self) -> Abandoned {
        let abandoned = {
            let mut inner = self.lock();
            inner.lost = inner.state.queued_bytes() as u64;
            let left = Left {
                _state: mem::take(&mut inner.state),
                _spawned: mem::take(&mut inner.spawned),
                _body: inner.body.take(),
            };
            inner.state.handle_end();
            inner.is_abandoned = true;
            Abandoned {
                reason: *inner.reason.get_or_insert(Reason::Gone),
                sent: inner.sent,
                left,
            }
        };
        self.wake_waiting();
        abandoned
    }
}

impl Shared {
    // Wakers are woken, and what others made is dropped, after the lock is released: both may come
    // back here.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, and wakes the body's task unless it looks at the state anyway.
    fn change<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let (result, body) = {
            let mut inner = self.lock();
            let result = change(&mut inner);
            let body = inner.body.as_ref().filter(|_| !inner.body_is_awake);
            (result, body.cloned())
        };
        if let Some(body) = body {
            body.wake();
        }
        result
    }

    /// The session has ended: nobody waits for room any more.
    fn wake_waiting(&self) {
        self.room.close();
        self.progress.notify_waiters();
        self.watchers.wake();
    }
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.change(|inner| inner.is_woken = true);
    }
}

impl Inner {
    /// Remembers the body's task, and returns the one before.
    #[must_use]
    fn set_body(&mut self, body: &Waker) -> Option<Waker> {
        match &self.body {
            Some(known) if known.will_wake(body) => None,
            _ => self.body.replace(body.clone()),
        }
    }
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner")
            .field("state", &self.state)
            .field("sent", &self.sent)
            .finish_non_exhaustive()
    }
}

/// The room that so many bytes take: all there is for what is larger than the queue, which goes
/// alone.
fn room_of(bytes: usize) -> u32 {
    u32::try_from(bytes.min(MAX_QUEUED_BYTES)).unwrap_or(u32::MAX)
}
