//! Owns what a session's handle and its body share: the state machine, and who waits for it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use tidings_proto::{EncodedEvents, Frame, Heartbeat, SessionState};

use crate::Error;

#[derive(Debug, Default)]
pub(crate) struct Shared(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: SessionState,
    /// Of the task that polls the body.
    body: Option<Waker>,
    /// The body is running the handler and looks at the state afterwards: it needs no waking.
    body_is_awake: bool,
    /// Of those who wait for room in the queue, or for it to be empty.
    waiting: Vec<Waker>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics under the lock, and no user code runs under it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues the events once there is room for them.
    pub(crate) fn poll_send(
        &self,
        cx: &Context<'_>,
        events: &mut Option<EncodedEvents>,
    ) -> Poll<Result<(), Error>> {
        let mut inner = self.lock();
        if inner.state.is_ended() {
            return Poll::Ready(Err(Error::Closed));
        }
        if !events
            .as_ref()
            .is_none_or(|events| inner.state.has_room_for(events.len()))
        {
            return inner.wait(cx);
        }
        if let Some(events) = events.take() {
            inner.state.handle_events(events);
            inner.wake_body();
        }
        Poll::Ready(Ok(()))
    }

    /// Waits until everything that was queued has left.
    pub(crate) fn poll_flush(&self, cx: &Context<'_>) -> Poll<Result<(), Error>> {
        let mut inner = self.lock();
        if inner.state.is_flushed() {
            Poll::Ready(Ok(()))
        } else {
            inner.wait(cx)
        }
    }

    pub(crate) fn start_heartbeat(&self, heartbeat: Heartbeat, now: Instant) {
        let mut inner = self.lock();
        inner.state.handle_heartbeat(heartbeat, now);
        inner.wake_body();
    }

    /// Ends the session after what is queued.
    pub(crate) fn end(&self) {
        let mut inner = self.lock();
        inner.state.handle_end();
        inner.wake_body();
        inner.wake_waiting();
    }

    /// Breaks the session after what is queued.
    pub(crate) fn fail(&self) {
        self.lock().state.handle_failure();
    }

    /// The body runs the handler now.
    pub(crate) fn handle_awake(&self, body: &Waker) {
        let mut inner = self.lock();
        inner.body_is_awake = true;
        inner.set_body(body);
    }

    /// The body lets the connection write. Whether it has to come back without being woken: there
    /// is more to hand out, or those who were to wake it know only its former task.
    pub(crate) fn yields_with_work_left(&self, body: &Waker) -> bool {
        let mut inner = self.lock();
        let is_known = inner.set_body(body);
        !is_known || !inner.state.is_flushed() || inner.state.is_ended()
    }

    /// The body has run the handler: what leaves now.
    pub(crate) fn take_frame(&self, now: Instant) -> Option<Frame> {
        let mut inner = self.lock();
        inner.body_is_awake = false;
        let frame = inner.state.poll_frame(now);
        if frame.is_some() {
            inner.wake_waiting();
        }
        frame
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.lock().state.poll_timeout()
    }

    pub(crate) fn handle_timeout(&self, now: Instant) {
        self.lock().state.handle_timeout(now);
    }
}

impl Inner {
    fn wait<T>(&mut self, cx: &Context<'_>) -> Poll<T> {
        if !self.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            self.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    fn wake_waiting(&mut self) {
        self.waiting.drain(..).for_each(Waker::wake);
    }

    fn wake_body(&self) {
        if let Some(body) = &self.body
            && !self.body_is_awake
        {
            body.wake_by_ref();
        }
    }

    /// Remembers the body's task. Says whether it is the one that was known.
    fn set_body(&mut self, body: &Waker) -> bool {
        match &mut self.body {
            Some(known) if known.will_wake(body) => true,
            known => {
                *known = Some(body.clone());
                false
            }
        }
    }
}
