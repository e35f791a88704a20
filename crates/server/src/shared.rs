//! The state that a session's handles and its body share: the queue, its room, and the waiting tasks.

use std::future::poll_fn;
use std::mem;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, Wake, Waker};
use std::time::Instant;

use tidings_proto::{EncodedEvents, Heartbeat, SessionFrame, SessionState};
use tokio::sync::{Notify, Semaphore, TryAcquireError};

use crate::ending::{Ending, OpenSession};
use crate::outbox::{Outbox, room_of};
use crate::outcome::Outcome;
use crate::source::{TurnEnd, TurnStart};
use crate::waking::Waking;
use crate::watch::Watchers;
use crate::work::HandlerFuture;
use crate::{SendError, TrySendError, TrySendErrorKind};

/// The state that a session's handles and its body share.
pub(crate) struct Shared {
    waking: Waking<Queue>,
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
struct Queue {
    outbox: Outbox,
    /// Futures to run beside the handler, which the body has not taken yet.
    spawned: Vec<HandlerFuture>,
    /// How many bytes the connection has had a turn to write.
    written: u64,
    /// The number of written bytes that the latest flush waits for.
    flush_target: u64,
    /// The body was dropped, so nothing reads the queue any more.
    is_abandoned: bool,
    /// How many bytes were queued when the body was dropped.
    lost: u64,
}

/// The parts of a session that remain when its body is dropped. Dropping them may run the caller's
/// code.
pub(crate) struct Remains {
    _state: SessionState,
    _spawned: Vec<HandlerFuture>,
    _body: Option<Waker>,
}

/// The operations of the handles.
impl Shared {
    pub(crate) fn new(outbox: Outbox) -> Self {
        Self {
            room: Semaphore::new(outbox.room()),
            waking: Waking::new(Queue {
                outbox,
                ..Queue::default()
            }),
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
        let room = self.room.acquire_many(permits(events.len())).await;
        room.map_err(|_| SendError::CLOSED)?.forget();
        self.queue(events).map_err(|_| SendError::CLOSED)
    }

    /// Queues the events if there is room for them now.
    pub(crate) fn try_send(&self, events: EncodedEvents) -> Result<(), TrySendError> {
        match self.room.try_acquire_many(permits(events.len())) {
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
        Ok(self.room.available_permits() >= room_of(bytes))
    }

    /// Waits until there is room for this many bytes, without taking it.
    pub(crate) async fn wait_for_room(&self, bytes: usize) -> Result<(), SendError> {
        let room = self.room.acquire_many(permits(bytes)).await;
        room.map(drop).map_err(|_| SendError::CLOSED)
    }

    /// Waits until everything queued so far has left, and the connection has had a turn to write it.
    pub(crate) async fn flush(&self) -> Result<(), SendError> {
        let target = self.waking.change(|queue| {
            let queued = queue.outbox.queued_bytes() as u64;
            let target = queue.outbox.sent_bytes() + queued + queue.lost;
            queue.flush_target = queue.flush_target.max(target);
            target
        });
        self.until(|queue| {
            if queue.written >= target {
                Some(Ok(()))
            } else {
                queue.is_abandoned.then_some(Err(SendError::CLOSED))
            }
        })
        .await
    }

    /// Waits until the session accepts no more events.
    pub(crate) async fn closed(&self) {
        self.until(|queue| queue.outbox.is_ended().then_some(()))
            .await;
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.waking.lock().outbox.is_ended()
    }

    pub(crate) fn start_heartbeat(&self, heartbeat: Heartbeat, now: Instant) {
        let stale = self.waking.change(|queue| {
            if queue.outbox.is_ended() {
                // A heartbeat kept here could hold a handle to this session, and so keep both alive
                // for ever.
                return Some(heartbeat);
            }
            // The timer must be set for it.
            queue.set_woken();
            queue.outbox.start_heartbeat(heartbeat, now)
        });
        drop(stale);
    }

    /// Runs a future beside the handler. If the session has ended, the future is dropped.
    pub(crate) fn spawn(&self, future: HandlerFuture) {
        let too_late = self.waking.change(|queue| {
            if queue.outbox.is_ended() {
                return Some(future);
            }
            queue.spawned.push(future);
            queue.set_woken();
            None
        });
        drop(too_late);
    }

    /// Ends the session after the queued events. Returns whether the session was open.
    pub(crate) fn end(&self, ending: Ending) -> bool {
        let was_open = self.waking.change(|queue| queue.outbox.end(ending));
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
        self.waking.change(|queue| {
            if queue.outbox.is_ended() {
                return Err(events);
            }
            queue.outbox.push(events);
            Ok(())
        })
    }

    async fn until<T>(&self, mut look: impl FnMut(&Queue) -> Option<T>) -> T {
        loop {
            let mut progress = pin!(self.progress.notified());
            // Registered before the state is read, so that no change in between is missed.
            progress.as_mut().enable();
            if let Some(found) = look(&self.waking.lock()) {
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
        self.waking.yield_turn(body, |queue| {
            queue.outbox.has_frame()
                // The next turn completes the waiting flushes.
                || queue.flush_target > queue.written
        })
    }

    /// Starts a turn of the handler. Returns also the futures that run beside it from now on.
    pub(crate) fn start_turn(&self, body: &Waker) -> (TurnStart, Vec<HandlerFuture>) {
        let (mut is_woken, (is_flushed, due, spawned)) = self.waking.start_turn(body, |queue| {
            let is_flushed = queue.flush_target > queue.written;
            queue.written = queue.outbox.sent_bytes();
            let due = queue.outbox.poll_timeout();
            (is_flushed, due, mem::take(&mut queue.spawned))
        });
        if is_flushed {
            self.progress.notify_waiters();
            // The handler itself may have waited for the flush.
            is_woken |= self.waking.lock().take_woken();
        }
        (TurnStart { is_woken, due }, spawned)
    }

    /// Takes the futures that the body has not taken yet. A session that has ended gets no new ones.
    pub(crate) fn take_spawned(&self) -> Vec<HandlerFuture> {
        mem::take(&mut self.waking.lock().spawned)
    }

    /// Ends the turn of the handler.
    pub(crate) fn end_turn(&self, now: Instant) -> TurnEnd {
        let (is_woken, (frame, events)) =
            self.waking.end_turn(|queue| queue.outbox.poll_frame(now));
        if let Some(SessionFrame::Data(bytes)) = &frame {
            self.room.add_permits(permits(bytes.len()) as usize);
        }
        TurnEnd {
            frame,
            events,
            is_woken,
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.waking.lock().outbox.poll_timeout()
    }

    pub(crate) fn handle_timeout(&self, now: Instant) {
        let due = self.waking.lock().outbox.handle_timeout(now);
        if due.is_over {
            self.wake_waiting();
        }
        if let Some(heartbeat) = due.heartbeat {
            // A full queue skips the heartbeat: the client has enough to read.
            drop(self.try_send(heartbeat.encode()));
            self.watchers.handle_heartbeat();
        }
    }

    /// The body is dropped.
    pub(crate) fn abandon(&self) -> (Outcome, Remains) {
        let abandoned = {
            let mut queue = self.waking.lock();
            queue.lost = queue.outbox.queued_bytes() as u64;
            queue.is_abandoned = true;
            let (outcome, state) = queue.outbox.abandon();
            let remains = Remains {
                _state: state,
                _spawned: mem::take(&mut queue.spawned),
                _body: queue.take_body(),
            };
            (outcome, remains)
        };
        self.wake_waiting();
        abandoned
    }

    /// The session has ended: wakes every task that waits for it.
    fn wake_waiting(&self) {
        self.room.close();
        self.progress.notify_waiters();
        self.watchers.wake();
    }
}

impl OpenSession for Shared {
    fn end_from_outside(&self, ending: Ending) {
        self.end(ending);
    }
}

/// The waker of the handler and of the timer.
impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.waking.wake_work();
    }
}

/// The permits for the room of this many bytes.
fn permits(bytes: usize) -> u32 {
    u32::try_from(room_of(bytes))
        .unwrap_or_else(|_| unreachable!("the queue holds less than 4 GiB"))
}
