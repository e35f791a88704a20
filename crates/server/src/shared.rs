//! The state that a session's handles and its body share: the queue, its room, and the waiting tasks.

use std::future::poll_fn;
use std::mem;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Wake, Waker};
use std::time::Instant;

use tidings_proto::{EncodedEvents, Heartbeat, MAX_QUEUED_BYTES, SessionFrame, SessionState};
use tokio::sync::{Notify, Semaphore, TryAcquireError};

use crate::outcome::{Outcome, Remains, SentTotals};
use crate::turn::{TurnEnd, TurnStart};
use crate::watch::Watchers;
use crate::work::HandlerFuture;
use crate::{Reason, SendError, TrySendError, TrySendErrorKind};

/// The state that a session's handles and its body share.
///
/// It is also the waker of the handler and of the timer. It remembers that they were woken until they
/// are polled. The waker of the body's task cannot do that: a connection that cannot write may be
/// woken and leave the body unpolled.
pub(crate) struct Shared {
    guarded: Mutex<Guarded>,
    /// How many more bytes may be queued. Waiting sends get room in the order in which they began to
    /// wait. Closed when the session ends.
    room: Semaphore,
    /// Notified when the bytes that a flush waits for were written, and when the session ends.
    progress: Notify,
    /// Woken by each heartbeat, and when the session ends.
    pub(crate) watchers: Watchers,
}

/// The part of the state behind the lock.
#[derive(Default)]
struct Guarded {
    state: SessionState,
    /// Why the session ended.
    reason: Option<Reason>,
    /// The waker of the task that polls the body.
    body: Option<Waker>,
    /// The body is being polled, and reads this state before it returns.
    body_is_awake: bool,
    /// The handler or the timer was woken since it was last polled.
    is_woken: bool,
    /// Futures to run beside the handler, which the body has not taken yet.
    spawned: Vec<HandlerFuture>,
    sent: SentTotals,
    /// How many of the sent events the body has counted.
    counted: u64,
    /// How many bytes the connection has had a turn to write.
    written: u64,
    /// The number of written bytes that the latest flush waits for.
    flush_target: u64,
    /// The body was dropped, so nothing reads the queue any more.
    is_abandoned: bool,
    /// How many bytes were queued when the body was dropped.
    lost: u64,
}

/// The operations of the handles.
impl Shared {
    pub(crate) fn new() -> Self {
        Self {
            guarded: Mutex::default(),
            room: Semaphore::new(MAX_QUEUED_BYTES),
            progress: Notify::new(),
            watchers: Watchers::default(),
        }
    }

    /// Queues the events as soon as there is room for them.
    pub(crate) fn send(
        &self,
        events: EncodedEvents,
    ) -> impl Future<Output = Result<(), SendError>> {
        // Written by hand, because every handler reserves room for a send, and an async block holds
        // its arguments twice. Few sends wait, so the state of a waiting send is boxed.
        let mut events = Some(events);
        let mut waiting = None;
        poll_fn(move |cx| {
            if let Some(events) = events.take() {
                match self.try_send(events) {
                    Ok(()) => return Poll::Ready(Ok(())),
                    Err(error) => match error.kind() {
                        TrySendErrorKind::Closed => return Poll::Ready(Err(SendError::CLOSED)),
                        TrySendErrorKind::Full => {
                            waiting = Some(Box::pin(self.wait_and_send(error.into_events())));
                        }
                    },
                }
            }
            match &mut waiting {
                Some(waiting) => waiting.as_mut().poll(cx),
                None => unreachable!("a send was polled after it had returned"),
            }
        })
    }

    /// Queues the events when all sends that began to wait earlier have room.
    pub(crate) async fn wait_and_send(&self, events: EncodedEvents) -> Result<(), SendError> {
        let room = self.room.acquire_many(room_of(events.len())).await;
        room.map_err(|_| SendError::CLOSED)?.forget();
        self.queue(events).map_err(|_| SendError::CLOSED)
    }

    /// Queues the events if there is room for them now.
    pub(crate) fn try_send(&self, events: EncodedEvents) -> Result<(), TrySendError> {
        match self.room.try_acquire_many(room_of(events.len())) {
            // Released when the events leave.
            Ok(room) => room.forget(),
            Err(TryAcquireError::NoPermits) => return Err(TrySendError::full(events)),
            Err(TryAcquireError::Closed) => return Err(TrySendError::closed(events)),
        }
        self.queue(events).map_err(TrySendError::closed)
    }

    /// Whether a send of this many bytes would return at once.
    pub(crate) fn has_room(&self, bytes: usize) -> Result<bool, SendError> {
        if self.room.is_closed() {
            return Err(SendError::CLOSED);
        }
        Ok(self.room.available_permits() >= room_of(bytes) as usize)
    }

    /// Waits until there is room for this many bytes, without taking it.
    pub(crate) async fn wait_for_room(&self, bytes: usize) -> Result<(), SendError> {
        let room = self.room.acquire_many(room_of(bytes)).await;
        room.map(drop).map_err(|_| SendError::CLOSED)
    }

    /// Waits until everything queued so far has left, and the connection has had a turn to write it.
    pub(crate) async fn flush(&self) -> Result<(), SendError> {
        let target = self.change(|guarded| {
            let queued = guarded.state.queued_bytes() as u64;
            let target = guarded.sent.bytes + queued + guarded.lost;
            guarded.flush_target = guarded.flush_target.max(target);
            target
        });
        self.until(|guarded| {
            if guarded.written >= target {
                Some(Ok(()))
            } else {
                guarded.is_abandoned.then_some(Err(SendError::CLOSED))
            }
        })
        .await
    }

    /// Waits until the session accepts no more events.
    pub(crate) async fn closed(&self) {
        self.until(|guarded| guarded.state.is_ended().then_some(()))
            .await;
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().state.is_ended()
    }

    pub(crate) fn start_heartbeat(&self, heartbeat: Heartbeat, now: Instant) {
        let stale = self.change(|guarded| {
            if guarded.state.is_ended() {
                // A heartbeat kept here could hold a handle to this session, and so keep both alive
                // for ever.
                return Some(heartbeat);
            }
            // The timer must be set for it.
            guarded.is_woken = true;
            guarded.state.handle_heartbeat(heartbeat, now)
        });
        drop(stale);
    }

    pub(crate) fn set_lifetime(&self, ends_at: Instant) {
        self.lock().state.handle_lifetime(ends_at);
    }

    /// Runs a future beside the handler. If the session has ended, the future is dropped.
    pub(crate) fn spawn(&self, future: HandlerFuture) {
        let too_late = self.change(|guarded| {
            if guarded.state.is_ended() {
                return Some(future);
            }
            guarded.spawned.push(future);
            guarded.is_woken = true;
            None
        });
        drop(too_late);
    }

    /// Ends the session after the queued events. Returns whether the session was open.
    pub(crate) fn end(&self, reason: Reason) -> bool {
        self.end_with(reason, EncodedEvents::default())
    }

    /// Ends the session after the queued events and these.
    pub(crate) fn end_with(&self, reason: Reason, last: EncodedEvents) -> bool {
        if reason == Reason::Failed {
            return self.fail(reason, last);
        }
        self.finish(reason, last, SessionState::handle_end)
    }

    /// Breaks the session after the queued events and these.
    pub(crate) fn fail(&self, reason: Reason, last: EncodedEvents) -> bool {
        self.finish(reason, last, SessionState::handle_failure)
    }

    fn finish(
        &self,
        reason: Reason,
        last: EncodedEvents,
        end: impl FnOnce(&mut SessionState),
    ) -> bool {
        let was_open = self.change(|guarded| {
            let was_open = !guarded.state.is_ended();
            guarded.state.handle_events(last);
            end(&mut guarded.state);
            guarded.reason.get_or_insert(reason);
            was_open
        });
        self.wake_waiting();
        was_open
    }

    /// Queues events whose room is already taken.
    fn queue(&self, events: EncodedEvents) -> Result<(), EncodedEvents> {
        if events.is_empty() && !self.is_closed() {
            // Nothing to read, so the body is not woken.
            return Ok(());
        }
        // Events that are gathered into one frame are copied and dropped. A drop may run the
        // caller's code, which must not run under the lock.
        let _held = events.bytes().clone();
        self.change(|guarded| {
            if guarded.state.is_ended() {
                return Err(events);
            }
            guarded.sent.events += events.count() as u64;
            guarded.state.handle_events(events);
            let queued = guarded.state.queued_bytes();
            guarded.sent.queue_high_mark = guarded.sent.queue_high_mark.max(queued);
            Ok(())
        })
    }

    async fn until<T>(&self, mut look: impl FnMut(&Guarded) -> Option<T>) -> T {
        loop {
            let mut progress = pin!(self.progress.notified());
            // Registered before the state is read, so that no change in between is missed.
            progress.as_mut().enable();
            if let Some(found) = look(&self.lock()) {
                return found;
            }
            progress.await;
        }
    }
}

/// The operations of the body.
impl Shared {
    /// Gives the connection a turn to write. Returns whether the body has work to do after it.
    pub(crate) fn yield_turn(&self, body: &Waker) -> bool {
        let stale;
        let has_work = {
            let mut guarded = self.lock();
            stale = guarded.set_body(body);
            guarded.is_woken
                || guarded.state.queued_bytes() > 0
                || guarded.state.is_ended()
                // The next turn completes the waiting flushes.
                || guarded.flush_target > guarded.written
        };
        drop(stale);
        has_work
    }

    /// Starts a turn of the handler.
    pub(crate) fn start_turn(&self, body: &Waker) -> TurnStart {
        let stale;
        let is_flushed;
        let mut start = {
            let mut guarded = self.lock();
            stale = guarded.set_body(body);
            guarded.body_is_awake = true;
            is_flushed = guarded.flush_target > guarded.written;
            guarded.written = guarded.sent.bytes;
            TurnStart {
                is_woken: mem::take(&mut guarded.is_woken),
                due: guarded.state.poll_timeout(),
                spawned: mem::take(&mut guarded.spawned),
            }
        };
        drop(stale);
        if is_flushed {
            self.progress.notify_waiters();
            // The handler itself may have waited for the flush.
            start.is_woken |= mem::take(&mut self.lock().is_woken);
        }
        start
    }

    /// Ends the turn of the handler.
    pub(crate) fn end_turn(&self, now: Instant) -> TurnEnd {
        let end = {
            let mut guarded = self.lock();
            guarded.body_is_awake = false;
            let frame = guarded.state.poll_frame(now);
            let mut events = 0;
            if let Some(SessionFrame::Data(bytes)) = &frame {
                guarded.sent.bytes += bytes.len() as u64;
                events = guarded.sent.events - guarded.counted;
                guarded.counted = guarded.sent.events;
            }
            TurnEnd {
                frame,
                events,
                is_woken: guarded.is_woken,
            }
        };
        if let Some(SessionFrame::Data(bytes)) = &end.frame {
            self.room.add_permits(room_of(bytes.len()) as usize);
        }
        end
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.lock().state.poll_timeout()
    }

    pub(crate) fn handle_timeout(&self, now: Instant) {
        let (heartbeat, is_over) = {
            let mut guarded = self.lock();
            let was_open = !guarded.state.is_ended();
            guarded.state.handle_timeout(now);
            let is_over = was_open && guarded.state.is_ended();
            if is_over {
                guarded.reason = Some(Reason::Lifetime);
            }
            (guarded.state.poll_heartbeat(now), is_over)
        };
        if is_over {
            self.wake_waiting();
        }
        if let Some(heartbeat) = heartbeat {
            // A full queue skips the heartbeat: the client has enough to read.
            drop(self.try_send(heartbeat.encode()));
            self.watchers.handle_heartbeat();
        }
    }

    /// The body is dropped. Returns the outcome of the session.
    pub(crate) fn abandon(&self) -> Outcome {
        let outcome = {
            let mut guarded = self.lock();
            guarded.lost = guarded.state.queued_bytes() as u64;
            let remains = Remains {
                _state: mem::take(&mut guarded.state),
                _spawned: mem::take(&mut guarded.spawned),
                _body: guarded.body.take(),
            };
            guarded.state.handle_end();
            guarded.is_abandoned = true;
            Outcome {
                reason: *guarded.reason.get_or_insert(Reason::Gone),
                sent: guarded.sent,
                remains,
            }
        };
        self.wake_waiting();
        outcome
    }
}

impl Shared {
    // Tasks are woken, and values of the caller are dropped, only after the lock is released: both
    // may call methods of this session.
    fn lock(&self) -> MutexGuard<'_, Guarded> {
        self.guarded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, and wakes the body's task, unless that task reads the state anyway.
    fn change<T>(&self, change: impl FnOnce(&mut Guarded) -> T) -> T {
        let (result, body) = {
            let mut guarded = self.lock();
            let result = change(&mut guarded);
            let body = guarded.body.as_ref().filter(|_| !guarded.body_is_awake);
            (result, body.cloned())
        };
        if let Some(body) = body {
            body.wake();
        }
        result
    }

    /// The session has ended: wakes every task that waits for it.
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
        self.change(|guarded| guarded.is_woken = true);
    }
}

impl Guarded {
    /// Remembers the waker of the body's task, and returns the previous one.
    #[must_use]
    fn set_body(&mut self, body: &Waker) -> Option<Waker> {
        match &self.body {
            Some(known) if known.will_wake(body) => None,
            _ => self.body.replace(body.clone()),
        }
    }
}

/// The room that this many bytes take. Events larger than the queue take all of it, and so leave
/// alone.
fn room_of(bytes: usize) -> u32 {
    u32::try_from(bytes.min(MAX_QUEUED_BYTES))
        .unwrap_or_else(|_| unreachable!("the queue holds less than 4 GiB"))
}
