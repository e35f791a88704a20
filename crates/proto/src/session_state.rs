//! `SessionState`: the frames that a server's session sends next.

use std::collections::VecDeque;
use std::fmt;
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use crate::heartbeat::RunningHeartbeat;
use crate::{EncodedEvents, Heartbeat, HeartbeatEvent};

/// The maximum bytes that a session queues: 64 KiB. A sender waits beyond it. A larger event is queued
/// alone.
pub const MAX_QUEUED_BYTES: usize = 64 * 1024;

/// The maximum bytes of a frame that gathers several small sends: 16 KiB, the size of a TLS record.
const FRAME_BYTES: usize = 16 * 1024;

/// A server's session: a queue of encoded events, a heartbeat, a lifetime and an end.
///
/// It does no I/O. The queue itself has no limit: its driver keeps it within [`MAX_QUEUED_BYTES`].
///
/// ```
/// use std::time::Instant;
/// use tidings_proto::{Event, SessionFrame, SessionState};
///
/// let now = Instant::now();
/// let mut session = SessionState::new();
/// session.handle_events(Event::new("a").encode());
/// session.handle_events(Event::new("b").encode());
/// session.handle_end();
/// assert_eq!(session.poll_frame(now), Some(SessionFrame::Data("data: a\n\ndata: b\n\n".into())));
/// assert_eq!(session.poll_frame(now), Some(SessionFrame::End));
/// ```
#[derive(Default)]
pub struct SessionState {
    /// Usually the only one, so that a session with few events allocates no queue.
    first: Option<Queued>,
    /// Never empty.
    #[allow(
        clippy::box_collection,
        reason = "most sessions have none, and then it takes 8 bytes in place of 32"
    )]
    rest: Option<Box<VecDeque<Queued>>>,
    queued_bytes: usize,
    heartbeat: Option<Box<RunningHeartbeat>>,
    /// The end of its lifetime.
    ends_at: Option<Instant>,
    end: Option<End>,
}

#[derive(Debug, Clone, Copy)]
enum End {
    Clean,
    Broken,
}

/// The next part of a session's response.
#[derive(Clone, PartialEq, Eq)]
#[allow(
    clippy::exhaustive_enums,
    reason = "a body must handle each frame; a new one is a breaking change"
)]
pub enum SessionFrame {
    /// The bytes of whole events.
    Data(Bytes),
    /// The clean end of the response.
    End,
    /// A cut of the response, so that the client can tell that the stream is not complete.
    Break,
}

impl SessionState {
    /// An open session that has sent nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Queues events. Events after the end are dropped.
    pub fn handle_events(&mut self, events: EncodedEvents) {
        if self.is_ended() || events.is_empty() {
            return;
        }
        self.queued_bytes += events.len();
        let bytes = events.into_bytes();
        let last = self.rest.as_mut().and_then(|rest| rest.back_mut());
        match last.or(self.first.as_mut()) {
            Some(last) if last.len() + bytes.len() <= FRAME_BYTES => last.gather(&bytes),
            Some(_) => {
                let rest = self.rest.get_or_insert_default();
                rest.push_back(Queued::Ready(bytes));
            }
            None => self.first = Some(Queued::Ready(bytes)),
        }
    }

    /// The number of queued bytes.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// Starts this heartbeat in place of the previous one, and returns the previous one.
    ///
    /// The caller decides where to drop the previous one, because a drop of its function can run any code.
    pub fn handle_heartbeat(&mut self, heartbeat: Heartbeat, now: Instant) -> Option<Heartbeat> {
        let running = Box::new(RunningHeartbeat::new(heartbeat, now));
        let previous = self.heartbeat.replace(running);
        previous.map(|running| running.into_heartbeat())
    }

    /// Sets the time at which the session ends.
    pub fn handle_lifetime(&mut self, ends_at: Instant) {
        self.ends_at = Some(ends_at);
    }

    /// The time at which the session ends, if one was set.
    #[must_use]
    pub fn ends_at(&self) -> Option<Instant> {
        self.ends_at
    }

    /// Ends the response after the queued events.
    pub fn handle_end(&mut self) {
        self.end.get_or_insert(End::Clean);
    }

    /// Cuts the response after the queued events, because the handler failed. Ignored if the session
    /// has ended.
    pub fn handle_failure(&mut self) {
        self.end.get_or_insert(End::Broken);
    }

    /// Reports that time has passed. The session ends if its lifetime is over.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.ends_at.is_some_and(|ends_at| ends_at <= now) {
            self.handle_end();
        }
    }

    /// The heartbeat, if it is due.
    ///
    /// The driver queues its event like any other. If the queue has no room, because the peer does
    /// not read, the driver drops it.
    pub fn poll_heartbeat(&mut self, now: Instant) -> Option<HeartbeatEvent> {
        if self.is_ended() {
            return None;
        }
        self.heartbeat.as_mut()?.poll_heartbeat(now)
    }

    /// The time at which the driver must call [`handle_timeout`](Self::handle_timeout) and
    /// [`poll_heartbeat`](Self::poll_heartbeat).
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.is_ended() {
            return None;
        }
        let beat = self.heartbeat.as_ref().and_then(|running| running.due());
        beat.into_iter().chain(self.ends_at).min()
    }

    /// The next frame. `None` if nothing is queued. After the end it returns the end again.
    #[must_use]
    pub fn poll_frame(&mut self, now: Instant) -> Option<SessionFrame> {
        let Some(bytes) = self.first.take().map(Bytes::from) else {
            return self.end.map(SessionFrame::from);
        };
        self.first = self.rest.as_mut().and_then(|rest| rest.pop_front());
        // An idle session keeps no queue.
        self.rest.take_if(|rest| rest.is_empty());
        self.queued_bytes -= bytes.len();
        if let Some(running) = &mut self.heartbeat {
            running.handle_sent(now);
        }
        Some(SessionFrame::Data(bytes))
    }

    /// Whether the session has ended. Events that are queued then are still sent.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.end.is_some()
    }
}

// Shows no queued events, nor the event of the heartbeat.
impl fmt::Debug for SessionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionState")
            .field("queued_bytes", &self.queued_bytes)
            .field("ends_at", &self.ends_at)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

// Shows only the length of data.
impl fmt::Debug for SessionFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data(bytes) => write!(f, "Data({} bytes)", bytes.len()),
            Self::End => f.write_str("End"),
            Self::Break => f.write_str("Break"),
        }
    }
}

impl From<End> for SessionFrame {
    fn from(end: End) -> Self {
        match end {
            End::Clean => Self::End,
            End::Broken => Self::Break,
        }
    }
}

/// One frame: a single send, or several small ones, so that a queue of many small events needs no more
/// memory than their bytes.
enum Queued {
    Ready(Bytes),
    Gathered(BytesMut),
}

impl Queued {
    fn len(&self) -> usize {
        match self {
            Self::Ready(bytes) => bytes.len(),
            Self::Gathered(bytes) => bytes.len(),
        }
    }

    fn gather(&mut self, more: &[u8]) {
        if let Self::Ready(first) = self {
            *self = Self::Gathered(first.as_ref().into());
        }
        if let Self::Gathered(bytes) = self {
            bytes.extend_from_slice(more);
        }
    }
}

impl From<Queued> for Bytes {
    fn from(queued: Queued) -> Self {
        match queued {
            Queued::Ready(bytes) => bytes,
            Queued::Gathered(bytes) => bytes.freeze(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Event;

    #[allow(clippy::disallowed_methods, reason = "any instant will do")]
    fn some_instant() -> Instant {
        Instant::now()
    }

    fn event_of(bytes: usize) -> EncodedEvents {
        EncodedEvents::from_parts(vec![b'x'; bytes].into(), None, 1)
    }

    /// The lengths of the frames that sends of these lengths become.
    fn frames(sends: &[usize]) -> Vec<usize> {
        let mut session = SessionState::new();
        sends
            .iter()
            .for_each(|&bytes| session.handle_events(event_of(bytes)));
        session.handle_end();
        let frames = std::iter::from_fn(|| match session.poll_frame(some_instant()) {
            Some(SessionFrame::Data(bytes)) => Some(bytes.len()),
            _ => None,
        })
        .collect();
        assert!(session.queued_bytes() == 0);
        frames
    }

    #[test]
    fn small_sends_are_gathered_and_large_ones_are_not_copied() {
        assert_eq!(frames(&[]), [0; 0]);
        assert_eq!(frames(&[100, 200, 300]), [600]);
        assert_eq!(frames(&[FRAME_BYTES - 1, 1, 1]), [FRAME_BYTES, 1]);
        assert_eq!(frames(&[10, 100_000, 10]), [10, 100_000, 10]);
        let large = event_of(FRAME_BYTES);
        let mut session = SessionState::new();
        session.handle_events(large.clone());
        let Some(SessionFrame::Data(sent)) = session.poll_frame(some_instant()) else {
            panic!()
        };
        assert_eq!(sent.as_ptr(), large.bytes().as_ptr());
    }

    #[test]
    fn queued_events_are_sent_before_the_end() {
        for (end, frame) in [
            (
                SessionState::handle_end as fn(&mut SessionState),
                SessionFrame::End,
            ),
            (SessionState::handle_failure, SessionFrame::Break),
        ] {
            let mut session = SessionState::new();
            session.handle_events(event_of(3));
            end(&mut session);
            session.handle_events(event_of(3));
            let now = some_instant();
            assert!(
                matches!(session.poll_frame(now), Some(SessionFrame::Data(bytes)) if bytes.len() == 3)
            );
            assert_eq!(session.poll_frame(now), Some(frame.clone()));
            assert_eq!(session.poll_frame(now), Some(frame));
        }
    }

    #[test]
    fn a_failure_after_the_end_does_not_cut_the_response() {
        let mut session = SessionState::new();
        session.handle_end();
        session.handle_failure();
        assert_eq!(session.poll_frame(some_instant()), Some(SessionFrame::End));
    }

    #[test]
    fn many_small_sends_need_no_more_memory_than_their_bytes() {
        let mut session = SessionState::new();
        (0..5_000).for_each(|_| session.handle_events(event_of(10)));
        let frames = session.rest.as_ref().map_or(0, |rest| rest.len());
        assert!(frames <= 50_000 / FRAME_BYTES + 1, "{frames}");
    }

    #[test]
    fn a_second_heartbeat_replaces_the_first_and_stops_at_the_end() {
        let start = some_instant();
        let millis = Duration::from_millis;
        let mut session = SessionState::new();
        session.handle_heartbeat(Heartbeat::every(millis(10)), start);
        session.handle_heartbeat(Heartbeat::every(millis(50)).event(Event::new("b")), start);
        assert_eq!(session.poll_timeout(), Some(start + millis(50)));
        let beat = session.poll_heartbeat(start + millis(50)).unwrap();
        session.handle_events(beat.encode());
        let frame = session.poll_frame(start + millis(50));
        assert_eq!(frame, Some(SessionFrame::Data("data: b\n\n".into())));
        session.handle_end();
        assert_eq!(session.poll_timeout(), None);
        assert!(session.poll_heartbeat(start + millis(500)).is_none());
    }

    #[test]
    fn a_lifetime_ends_a_session_after_its_queued_events() {
        let start = some_instant();
        let millis = Duration::from_millis;
        let mut session = SessionState::new();
        session.handle_lifetime(start + millis(20));
        session.handle_heartbeat(Heartbeat::every(millis(50)), start);
        assert_eq!(session.poll_timeout(), Some(start + millis(20)));
        session.handle_events(event_of(3));
        session.handle_timeout(start + millis(19));
        assert!(!session.is_ended());
        session.handle_timeout(start + millis(20));
        let frames = [(); 2].map(|()| session.poll_frame(start + millis(20)));
        assert!(matches!(
            frames,
            [Some(SessionFrame::Data(_)), Some(SessionFrame::End)]
        ));
    }
}
