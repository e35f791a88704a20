//! The hub's side of the test: the steps of a fan-out and of a drain.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use tidings_proto::{EntryCheck, Epoch, Position};

use crate::fan_out::FanOut;
use crate::life::{LifeState, PositionWithId};
use crate::topic::Topic;
use crate::{ChannelName, Entry, EntryKind};

/// A step of the hub's task.
#[derive(Debug, Clone)]
pub(super) enum HubStep {
    /// Writes an entry. The first entry of a batch locks the directory.
    Write(Entry),
    Advance(u64),
    Unlock,
    /// The last two in one step.
    AdvanceAndUnlock(u64),
    /// Takes the wakers of one topic that the batch has written to. Then `Wake` follows, and the other
    /// topics. `Forget` follows on the last one.
    TakeWakers,
    Wake,
    /// Takes the wakers of all topics that the batch has written to, and wakes them. Nothing follows.
    TakeAndWake,
    /// Removes the oldest events from the tapes.
    Forget,
    Close,
    /// Lists all topics. For each of them `TakeListed` follows, and then one `Wake`.
    List,
    TakeListed(Arc<Topic>),
}

impl HubStep {
    /// Whether it takes no lock that a reader may hold.
    pub(super) fn is_lock_free(&self) -> bool {
        matches!(
            self,
            Self::Advance(_) | Self::AdvanceAndUnlock(_) | Self::Wake | Self::Close
        )
    }
}

/// The hub's task with the steps that it has yet to take.
pub(super) struct SimulatedHub {
    pub(super) fan_out: FanOut,
    pub(super) steps: VecDeque<HubStep>,
    pub(super) has_locked: bool,
    pub(super) wakers: Vec<Waker>,
}

pub(super) fn position(seq: u64) -> Position {
    Position {
        epoch: Epoch::new("e").unwrap(),
        seq,
        check: EntryCheck::from_hash(seq),
    }
}

impl SimulatedHub {
    pub(super) fn take_step(&mut self) {
        let life = Arc::clone(&self.fan_out.life);
        match self.steps.pop_front() {
            Some(HubStep::Write(entry)) => {
                if !self.has_locked {
                    self.has_locked = true;
                    self.fan_out.stamp.batch += 1;
                }
                self.fan_out.write(&entry, &mut life.directory());
            }
            Some(HubStep::Advance(seq)) => self.advance(seq),
            Some(HubStep::Unlock) => self.has_locked = false,
            Some(HubStep::AdvanceAndUnlock(seq)) => {
                self.advance(seq);
                self.has_locked = false;
            }
            Some(HubStep::TakeWakers) => self.take_wakers(),
            Some(HubStep::Wake) => self.wake(),
            Some(HubStep::TakeAndWake) => {
                self.fan_out
                    .touched
                    .drain(..)
                    .for_each(|topic| topic.take_wakers(&mut self.wakers));
                self.wakers.drain(..).for_each(Waker::wake);
            }
            Some(HubStep::Forget) => self.fan_out.forget_oldest(),
            Some(HubStep::Close) => life.raise_state(LifeState::Closing),
            Some(HubStep::List) => {
                self.steps.push_front(HubStep::Wake);
                for topic in life.directory().topics() {
                    self.steps.push_front(HubStep::TakeListed(topic));
                }
            }
            Some(HubStep::TakeListed(topic)) => topic.take_wakers(&mut self.wakers),
            None => {}
        }
    }

    fn advance(&self, seq: u64) {
        let life = &self.fan_out.life;
        life.advance(&mut life.directory(), PositionWithId::from(position(seq)));
    }

    fn take_wakers(&mut self) {
        if let Some(topic) = self.fan_out.touched.pop() {
            topic.take_wakers(&mut self.wakers);
        }
        if self.wakers.is_empty() {
            self.finish_topic();
        } else {
            self.steps.push_front(HubStep::Wake);
        }
    }

    fn wake(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
        self.finish_topic();
    }

    fn finish_topic(&mut self) {
        self.steps.push_front(if self.fan_out.touched.is_empty() {
            HubStep::Forget
        } else {
            HubStep::TakeWakers
        });
    }
}

fn entry(seq: u64, channel: &str, kind: EntryKind) -> HubStep {
    HubStep::Write(Entry {
        seq,
        time: seq,
        channel: ChannelName::new(channel).unwrap(),
        kind,
        body: Bytes::from_static(b"data: x\n\n"),
    })
}

/// The steps for these batches. Each item of a batch is an event of that channel, or the end of a
/// channel whose name follows a `!`.
pub(super) fn batches(batches: &[&[&str]]) -> Vec<HubStep> {
    let mut steps = Vec::new();
    let mut seq = 0;
    for channels in batches {
        for channel in *channels {
            seq += 1;
            steps.push(match channel.strip_prefix('!') {
                Some(channel) => entry(seq, channel, EntryKind::End),
                None => entry(seq, channel, EntryKind::Event),
            });
        }
        steps.extend([HubStep::AdvanceAndUnlock(seq), HubStep::TakeWakers]);
    }
    steps
}
