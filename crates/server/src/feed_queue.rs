//! `FeedQueue`: the queue of a forwarded feed, and the room that the feed waits for.

use std::mem;
use std::time::Instant;

use tidings_proto::EncodedEvents;

use crate::feed_reader::ROOM;
use crate::outbox::{Outbox, room_of};

/// The queue of a session that only forwards a feed.
///
/// Only the feed and the heartbeat send into it, so it needs no lock and no waiting senders.
pub(crate) struct FeedQueue {
    pub(crate) outbox: Outbox,
    /// Events that wait for room. Boxed, because few clients are so slow.
    held: Option<Box<EncodedEvents>>,
    /// The feed was not polled, because there was too little room.
    feed_waits: bool,
    /// There was a heartbeat since the last call of `take_heartbeat`.
    had_heartbeat: bool,
}

impl FeedQueue {
    pub(crate) fn new(outbox: Outbox) -> Self {
        Self {
            outbox,
            held: None,
            feed_waits: false,
            had_heartbeat: false,
        }
    }

    /// Queues the events that wait, if there is room now. Returns whether the feed may be polled then.
    pub(crate) fn make_room(&mut self) -> bool {
        let room = self.outbox.room();
        if let Some(held) = self.held.take_if(|held| room_of(held.len()) <= room) {
            self.outbox.push(*held);
        }
        self.feed_waits = self.held.is_some() || self.outbox.room() < ROOM;
        !self.feed_waits
    }

    /// Queues events of the feed, as soon as there is room for them.
    pub(crate) fn push(&mut self, events: EncodedEvents) {
        if room_of(events.len()) <= self.outbox.room() {
            self.outbox.push(events);
        } else {
            self.held = Some(Box::new(events));
        }
    }

    /// Whether the feed waits for room, and there is room now.
    pub(crate) fn may_continue(&self) -> bool {
        let reserved = self.reserved();
        reserved > 0 && reserved <= self.outbox.room()
    }

    /// Reports that time has passed: queues the heartbeat that is due, or ends the session.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let Some(heartbeat) = self.outbox.handle_timeout(now).heartbeat else {
            return;
        };
        let beat = heartbeat.encode();
        // A full queue skips the heartbeat: the client has enough to read.
        if self.reserved() + room_of(beat.len()) <= self.outbox.room() {
            self.outbox.push(beat);
        }
        self.had_heartbeat = true;
    }

    /// Whether there was a heartbeat, sent or skipped, since the last call.
    pub(crate) fn take_heartbeat(&mut self) -> bool {
        mem::take(&mut self.had_heartbeat)
    }

    /// The events that wait for room, and will not be sent any more. Dropping them may run the caller's code.
    pub(crate) fn take_held(&mut self) -> Option<Box<EncodedEvents>> {
        self.held.take()
    }

    /// The room that the feed waits for. Heartbeats do not take it, and so cannot keep the feed waiting.
    fn reserved(&self) -> usize {
        match &self.held {
            Some(held) => room_of(held.len()),
            None if self.feed_waits => ROOM,
            None => 0,
        }
    }
}
