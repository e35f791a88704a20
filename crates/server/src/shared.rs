//! Owns what a session's handle and its body share: the state machine, and who waits for it.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

use tidings_proto::{EncodedEvents, Frame, Heartbeat, SessionState};

use crate::Error;

/// Also the waker of the handler and of the heartbeat's timer: it remembers that they were woken
/// for as long as it takes until they are polled. The waker of the body's task would not do, as a
/// connection that cannot write may be woken and leave the body alone.
#[derive(Debug, Default)]
pub(crate) struct Shared(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: SessionState,
    /// Of the task that polls the body.
    body: Option<Waker>,
    /// The body is being polled, and looks at the state before it answers.
    body_is_awake: bool,
    /// The handler or the timer was woken since it was polled.
    is_woken: bool,
    /// Those who wait for room in the queue, or for it to be written, by their ticket.
    waiting: Vec<(u64, Waker)>,
    next_ticket: u64,
    /// Bytes that were handed to the connection.
    taken: u64,
    /// Those of them after which the connection has had a turn to write.
    written: u64,
    /// The body is gone, and with it who would read what is queued.
    is_abandoned: bool,
}

/// What the body does after it has had its turn.
pub(crate) struct Turn {
    /// What leaves now.
    pub(crate) frame: Option<Frame>,
    /// Somebody was woken meanwhile: the body is to be polled again.
    pub(crate) is_woken: bool,
}

impl Shared {
    // Wakers are woken, and dropped, after the lock is released: both may come back here.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, and wakes whom that concerns.
    fn change<T>(&self, change: impl FnOnce(&mut Inner) -> (T, Wakers)) -> T {
        let (result, wakers) = change(&mut self.lock());
        wakers.wake();
        result
    }

    pub(crate) fn waiting(&self) -> Waiting<'_> {
        Waiting {
            shared: self,
            ticket: None,
        }
    }

    pub(crate) fn start_heartbeat(&self, heartbeat: Heartbeat, now: Instant) {
        self.change(|inner| {
            inner.state.handle_heartbeat(heartbeat, now);
            // The timer is to be looked at again.
            inner.is_woken = true;
            ((), inner.body())
        });
    }

    /// Ends the session after what is queued.
    pub(crate) fn end(&self) {
        self.change(|inner| {
            inner.state.handle_end();
            ((), inner.body().and(inner.all_waiting()))
        });
    }

    /// Breaks the session after what is queued, unless it has ended. Says whether it had not.
    pub(crate) fn fail(&self) -> bool {
        self.change(|inner| {
            let was_open = !inner.state.is_ended();
            inner.state.handle_failure();
            (was_open, inner.all_waiting())
        })
    }

    /// The body is gone.
    pub(crate) fn abandon(&self) {
        let body = self.change(|inner| {
            inner.state = SessionState::new();
            inner.state.handle_end();
            inner.is_abandoned = true;
            (inner.body.take(), inner.all_waiting())
        });
        drop(body);
    }

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
                || !inner.waiting.is_empty()
        };
        drop(stale);
        has_work
    }

    /// The body has its turn. Says whether the handler or the timer was woken since the last one.
    pub(crate) fn start_turn(&self, body: &Waker) -> bool {
        let stale = self.change(|inner| {
            let stale = inner.set_body(body);
            inner.body_is_awake = true;
            let wakers = if inner.written == inner.taken {
                Wakers::default()
            } else {
                inner.all_waiting()
            };
            inner.written = inner.taken;
            (stale, wakers)
        });
        drop(stale);
        // Those who waited may have been the handler.
        mem::take(&mut self.lock().is_woken)
    }

    pub(crate) fn end_turn(&self, now: Instant) -> Turn {
        self.change(|inner| {
            inner.body_is_awake = false;
            let frame = inner.state.poll_frame(now);
            let mut wakers = Wakers::default();
            if let Some(Frame::Data(bytes)) = &frame {
                inner.taken += bytes.len() as u64;
                wakers = inner.all_waiting();
            }
            (
                Turn {
                    frame,
                    is_woken: inner.is_woken,
                },
                wakers,
            )
        })
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.lock().state.poll_timeout()
    }

    pub(crate) fn handle_timeout(&self, now: Instant) {
        self.lock().state.handle_timeout(now);
    }
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.change(|inner| {
            inner.is_woken = true;
            ((), inner.body())
        });
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

    /// The body's task, unless it looks at the state anyway.
    fn body(&self) -> Wakers {
        let body = if self.body_is_awake {
            None
        } else {
            self.body.clone()
        };
        Wakers {
            body,
            ..Wakers::default()
        }
    }

    fn all_waiting(&mut self) -> Wakers {
        Wakers {
            waiting: mem::take(&mut self.waiting),
            ..Wakers::default()
        }
    }

    /// Remembers who waits; a waker that this replaces is returned with the wakers.
    fn wait<T>(&mut self, cx: &Context<'_>, ticket: &mut Option<u64>) -> (Poll<T>, Wakers) {
        let ticket = *ticket.get_or_insert_with(|| {
            self.next_ticket += 1;
            self.next_ticket
        });
        let stale = self.take_waiting(ticket);
        self.waiting.push((ticket, cx.waker().clone()));
        let wakers = Wakers {
            stale,
            ..Wakers::default()
        };
        (Poll::Pending, wakers)
    }

    fn take_waiting(&mut self, ticket: u64) -> Option<Waker> {
        let at = self
            .waiting
            .iter()
            .position(|(waiting, _)| *waiting == ticket)?;
        Some(self.waiting.remove(at).1)
    }
}

/// Who is to be woken once the lock is released.
#[derive(Default)]
struct Wakers {
    body: Option<Waker>,
    waiting: Vec<(u64, Waker)>,
    /// Of one who now waits with another: only dropped.
    stale: Option<Waker>,
}

impl Wakers {
    fn and(self, other: Self) -> Self {
        Self {
            body: self.body.or(other.body),
            waiting: other.waiting,
            stale: self.stale.or(other.stale),
        }
    }

    fn wake(self) {
        self.body.into_iter().for_each(Waker::wake);
        self.waiting.into_iter().for_each(|(_, waker)| waker.wake());
    }
}

/// One who sends or flushes. Dropped, it waits no more.
pub(crate) struct Waiting<'s> {
    shared: &'s Shared,
    ticket: Option<u64>,
}

impl Waiting<'_> {
    /// Queues the events once there is room for them.
    pub(crate) fn poll_send(
        &mut self,
        cx: &Context<'_>,
        events: &mut Option<EncodedEvents>,
    ) -> Poll<Result<(), Error>> {
        self.shared.change(|inner| {
            if inner.state.is_ended() {
                return (Poll::Ready(Err(Error::Closed)), Wakers::default());
            }
            let length = events.as_ref().map_or(0, EncodedEvents::len);
            if !inner.state.has_room_for(length) {
                return inner.wait(cx, &mut self.ticket);
            }
            if let Some(events) = events.take() {
                inner.state.handle_events(events);
            }
            (Poll::Ready(Ok(())), inner.body())
        })
    }

    /// Waits until what is queued at the first call has left, and the connection has had a turn to
    /// write it.
    pub(crate) fn poll_flush(
        &mut self,
        cx: &Context<'_>,
        mark: &mut Option<u64>,
    ) -> Poll<Result<(), Error>> {
        self.shared.change(|inner| {
            let mark = *mark.get_or_insert(inner.taken + inner.state.queued_bytes() as u64);
            if inner.written >= mark {
                return (Poll::Ready(Ok(())), Wakers::default());
            }
            if inner.is_abandoned {
                return (Poll::Ready(Err(Error::Closed)), Wakers::default());
            }
            let (poll, wakers) = inner.wait(cx, &mut self.ticket);
            if inner.taken < mark {
                return (poll, wakers);
            }
            // All of it has left: only the body's next turn is missing, for which nobody else asks.
            (poll, inner.body().and(wakers))
        })
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            let gone = self.shared.lock().take_waiting(ticket);
            drop(gone);
        }
    }
}
