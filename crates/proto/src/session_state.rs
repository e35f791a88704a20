//! Owns `SessionState`: what a server's session sends next, without sending it.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use crate::heartbeat::Pulse;
use crate::{EncodedEvents, Heartbeat, HeartbeatEvent};

/// The most a session queues before who sends has to wait: 64 KiB. One larger event goes alone.
pub const MAX_QUEUED_BYTES: usize = 64 * 1024;

/// About how large the frames are that several small sends are gathered into: 16 KiB, the size of
/// a TLS record.
const FRAME_BYTES: usize = 16 * 1024;

/// One session: a queue of encoded events, its heartbeat and its end. Whoever fills the queue sees to
/// its bound, [`MAX_QUEUED_BYTES`].
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
#[derive(Debug, Default)]
pub struct SessionState {
    /// Most often the only one queued, so that a session that sends now and then allocates no queue.
    first: Option<Queued>,
    rest: VecDeque<Queued>,
    queued_bytes: usize,
    pulse: Option<Box<Pulse>>,
    /// Its lifetime is over then.
    ends_at: Option<Instant>,
    end: Option<End>,
}

#[derive(Debug, Clone, Copy)]
enum End {
    Clean,
    Broken,
}

/// What leaves a session next.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionFrame {
    /// Bytes of whole events.
    Data(Bytes),
    /// The clean end of the response.
    End,
    /// The response is cut, so that the client sees that it is not whole.
    Break,
}

impl SessionState {
    /// An open session that has sent nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Queues events. What comes after the end is dropped.
    pub fn handle_events(&mut self, events: EncodedEvents) {
        if self.is_ended() || events.is_empty() {
            return;
        }
        self.queued_bytes += events.len();
        let bytes = events.into_bytes();
        match self.rest.back_mut().or(self.first.as_mut()) {
            Some(last) if last.len() + bytes.len() <= FRAME_BYTES => last.gather(&bytes),
            Some(_) => self.rest.push_back(Queued::Ready(bytes)),
            None => self.first = Some(Queued::Ready(bytes)),
        }
    }

    /// How many bytes are queued.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// Starts a heartbeat in place of the one before, and returns that: its provider may do
    /// something of its own when it is dropped. Its time is [`poll_timeout`](Self::poll_timeout)'s.
    pub fn handle_heartbeat(&mut self, heartbeat: Heartbeat, now: Instant) -> Option<Heartbeat> {
        let before = self.pulse.replace(Box::new(Pulse::new(heartbeat, now)));
        before.map(|pulse| pulse.into_heartbeat())
    }

    /// The session is to end at this time.
    pub fn handle_lifetime(&mut self, ends_at: Instant) {
        self.ends_at = Some(ends_at);
    }

    /// Nothing more is sent: after what is queued the response ends.
    pub fn handle_end(&mut self) {
        self.end.get_or_insert(End::Clean);
    }

    /// The handler failed: after what is queued the response is cut, unless it was to end anyway.
    pub fn handle_failure(&mut self) {
        self.end.get_or_insert(End::Broken);
    }

    /// Time has passed: the session may be over.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.ends_at.is_some_and(|ends_at| ends_at <= now) {
            self.handle_end();
        }
    }

    /// The heartbeat that is due. What it makes is queued as any other event; for a peer that reads
    /// nothing, whose queue has no room for it, it is left out.
    pub fn poll_heartbeat(&mut self, now: Instant) -> Option<HeartbeatEvent> {
        if self.is_ended() {
            return None;
        }
        self.pulse.as_mut()?.poll_heartbeat(now)
    }

    /// When [`handle_timeout`](Self::handle_timeout) and [`poll_heartbeat`](Self::poll_heartbeat) are to be
    /// called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.is_ended() {
            return None;
        }
        let beat = self.pulse.as_ref().map(|pulse| pulse.due());
        beat.into_iter().chain(self.ends_at).min()
    }

    /// What leaves now; `None` if there is nothing yet. An end stays the end.
    #[must_use]
    pub fn poll_frame(&mut self, now: Instant) -> Option<SessionFrame> {
        let Some(bytes) = self.first.take().map(Bytes::from) else {
            return self.end.map(SessionFrame::from);
        };
        self.first = self.rest.pop_front();
        self.queued_bytes -= bytes.len();
        if let Some(pulse) = &mut self.pulse {
            pulse.handle_sent(now);
        }
        Some(SessionFrame::Data(bytes))
    }

    /// Whether nothing more can be sent.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.end.is_some()
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

/// What leaves in one frame: one send as it came, or several small ones gathered, so that a queue
/// of many small events takes no more memory than their bytes.
#[derive(Debug)]
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

    /// The lengths of the frames that sends of these lengths leave in.
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
    fn what_is_queued_leaves_before_the_end() {
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
    fn what_comes_after_an_end_does_not_break_it() {
        let mut session = SessionState::new();
        session.handle_end();
        session.handle_failure();
        assert_eq!(session.poll_frame(some_instant()), Some(SessionFrame::End));
    }

    #[test]
    fn many_small_sends_take_no_more_memory_than_their_bytes() {
        let mut session = SessionState::new();
        (0..5_000).for_each(|_| session.handle_events(event_of(10)));
        assert!(
            session.rest.len() <= 50_000 / FRAME_BYTES + 1,
            "{}",
            session.rest.len()
        );
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
    fn a_lifetime_ends_a_session_after_what_is_queued() {
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
