//! `Queue`: the commands of a store's users to its writer.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidings_hub::{Appended, Draft, LogError};
use tidings_proto::Epoch;
use tokio::sync::oneshot;

use crate::StoreError;

/// The most commands that wait for the writer, and the most bytes of their bodies, names and keys. A command
/// beyond it is refused, except a close.
pub(crate) const MAX_COMMANDS: usize = 100_000;
pub(crate) const MAX_BYTES: usize = 64 << 20;

/// The most commands that the writer takes at once, and the most bytes of them, which the last one may
/// exceed.
const TAKEN_COMMANDS: usize = 4_096;
const TAKEN_BYTES: usize = 8 << 20;

/// What the writer is asked to do.
#[derive(Debug)]
pub(crate) enum Command {
    Append {
        draft: Draft,
        reply: oneshot::Sender<Result<Appended, LogError>>,
    },
    RenewEpoch {
        expected: Epoch,
        reply: oneshot::Sender<Result<Epoch, LogError>>,
    },
    /// Removes the entries before this number, except the newest entry.
    Trim {
        first: u64,
        reply: oneshot::Sender<Result<(), LogError>>,
    },
    /// Writes everything, marks the store as closed in order, and ends.
    Close {
        reply: oneshot::Sender<Result<(), StoreError>>,
    },
}

/// Commands in the order in which they were given. The writer takes all of them at once.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    filled: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    commands: VecDeque<Command>,
    bytes: usize,
    is_closed: bool,
    /// How many commands the writer waits for; none if it does not wait.
    wanted: Option<usize>,
}

/// Why a command was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotQueued {
    Closed,
    Full,
}

impl Queue {
    pub(crate) fn push(&self, command: Command) -> Result<(), NotQueued> {
        let mut waiting = self.lock();
        if waiting.is_closed {
            return Err(NotQueued::Closed);
        }
        waiting.is_closed = matches!(command, Command::Close { .. });
        let bytes = waiting.bytes + command.bytes();
        let is_full =
            waiting.commands.len() >= MAX_COMMANDS || (bytes > MAX_BYTES && waiting.bytes > 0);
        if is_full && !waiting.is_closed {
            return Err(NotQueued::Full);
        }
        waiting.bytes = bytes;
        waiting.commands.push_back(command);
        let must_wake = waiting.wanted.is_some() && waiting.is_enough();
        drop(waiting);
        if must_wake {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Takes the oldest commands. If there is none, waits for the first one, at most for this time.
    pub(crate) fn take(&self, limit: Duration) -> VecDeque<Command> {
        self.wait(1, limit).take()
    }

    /// Waits until there are so many commands, at most for this time.
    pub(crate) fn gather(&self, wanted: usize, limit: Duration) {
        drop(self.wait(wanted, limit));
    }

    fn wait(&self, wanted: usize, limit: Duration) -> MutexGuard<'_, Waiting> {
        let mut waiting = self.lock();
        waiting.wanted = Some(wanted);
        let waited = self
            .filled
            .wait_timeout_while(waiting, limit, |waiting| !waiting.is_enough());
        let (mut waiting, _) = waited.unwrap_or_else(PoisonError::into_inner);
        waiting.wanted = None;
        waiting
    }

    /// Refuses all further commands, and takes those that wait.
    pub(crate) fn close(&self) -> VecDeque<Command> {
        let mut waiting = self.lock();
        waiting.is_closed = true;
        waiting.bytes = 0;
        std::mem::take(&mut waiting.commands)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn is_enough(&self) -> bool {
        let wanted = self.wanted.unwrap_or(0);
        self.commands.len() >= wanted || (self.is_closed && !self.commands.is_empty())
    }

    fn take(&mut self) -> VecDeque<Command> {
        let mut bytes = 0;
        let fits = |command: &&Command| {
            let is_in = bytes < TAKEN_BYTES;
            bytes += command.bytes();
            is_in
        };
        let next = self.commands.iter().take(TAKEN_COMMANDS);
        let count = next.take_while(fits).count();
        let taken: VecDeque<_> = self.commands.drain(..count).collect();
        self.bytes -= taken.iter().map(Command::bytes).sum::<usize>();
        taken
    }
}

impl Command {
    fn bytes(&self) -> usize {
        match self {
            Self::Append { draft, .. } => {
                let key = draft.key.as_ref().map_or(0, |key| key.len());
                draft.body.len() + draft.channel.as_str().len() + key
            }
            Self::RenewEpoch { .. } | Self::Trim { .. } | Self::Close { .. } => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use tidings_hub::ChannelName;

    use super::*;

    fn append(body: usize) -> Command {
        let (reply, _) = oneshot::channel();
        let draft = Draft::event(ChannelName::from_static("a"), vec![b'x'; body]);
        Command::Append { draft, reply }
    }

    fn trim() -> Command {
        let (reply, _) = oneshot::channel();
        Command::Trim { first: 1, reply }
    }

    fn close() -> Command {
        let (reply, _) = oneshot::channel();
        Command::Close { reply }
    }

    #[test]
    fn each_take_has_the_oldest_commands_up_to_the_limits() {
        let queue = Queue::default();
        for _ in 0..TAKEN_COMMANDS + 10 {
            queue.push(append(0)).unwrap();
        }
        assert_eq!(queue.take(Duration::ZERO).len(), TAKEN_COMMANDS);
        assert_eq!(queue.take(Duration::ZERO).len(), 10);
        for _ in 0..3 {
            queue.push(append(TAKEN_BYTES / 2)).unwrap();
        }
        assert_eq!(queue.take(Duration::ZERO).len(), 2);
        assert_eq!(queue.take(Duration::ZERO).len(), 1);
        assert_eq!(queue.lock().bytes, 0);
    }

    #[test]
    fn names_and_keys_count_as_bytes() {
        let queue = Queue::default();
        let (reply, _) = oneshot::channel();
        let name = ChannelName::from_static("four");
        let draft = Draft::event(name, vec![b'x'; 10]).key("key");
        queue.push(Command::Append { draft, reply }).unwrap();
        assert_eq!(queue.lock().bytes, 17);
    }

    #[test]
    fn a_full_queue_accepts_only_a_close() {
        let queue = Queue::default();
        for _ in 0..MAX_COMMANDS {
            queue.push(trim()).unwrap();
        }
        for command in [trim(), append(0)] {
            assert_eq!(queue.push(command), Err(NotQueued::Full));
        }
        queue.push(close()).unwrap();
        assert_eq!(queue.push(trim()), Err(NotQueued::Closed));
    }

    #[test]
    fn one_body_may_exceed_the_bytes_of_an_empty_queue() {
        let queue = Queue::default();
        queue.push(append(MAX_BYTES + 1)).unwrap();
        assert_eq!(queue.push(append(0)), Err(NotQueued::Full));
    }
}
