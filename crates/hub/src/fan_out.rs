//! `FanOut`: the steps after a batch of entries arrived, and the limit on the bytes of all tapes.

#[cfg(test)]
mod interleavings;

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::Arc;
use std::task::Waker;

use tidings_proto::EntryCheck;

use crate::confirm::{Notice, Outcome};
use crate::directory::Directory;
use crate::entry::Seal;
use crate::id_form::IdForm;
use crate::life::{Life, PositionWithId};
use crate::topic::{Stamp, Topic, Touched};
use crate::{Entry, EntryKind, meters};

/// The cost of an event in the index of its block, in bytes.
const INDEXED_BYTES: usize = 16;
/// The number of generations into which the bytes of all tapes are divided.
const GENERATIONS: usize = 64;

/// The only writer of a life's tapes.
#[derive(Debug)]
pub(crate) struct FanOut {
    life: Arc<Life>,
    /// The cost of all topics and generations, in bytes: the memory that they hold.
    bytes: usize,
    max_bytes: usize,
    /// The generation that is being written.
    current: Generation,
    /// The generations before it, the oldest first.
    past: VecDeque<Generation>,
    stamp: Stamp,
    /// The topics that the current batch has written to. This and the fields below are buffers, which
    /// keep their capacity from batch to batch.
    touched: Vec<Arc<Topic>>,
    outcomes: Vec<Outcome>,
    notices: Vec<Notice>,
    wakers: Vec<Waker>,
    id_line: String,
}

/// Consecutive entries that are removed from the tapes together.
#[derive(Debug, Default)]
struct Generation {
    /// The `seq` of its last event.
    last: u64,
    /// The length of its events and of their index, in bytes.
    bytes: usize,
    /// The topics whose tapes hold its events.
    topics: Vec<Arc<Topic>>,
}

impl FanOut {
    pub(crate) fn new(life: Arc<Life>, max_bytes: usize) -> Self {
        Self {
            life,
            bytes: 0,
            max_bytes,
            current: Generation::default(),
            past: VecDeque::new(),
            stamp: Stamp {
                batch: 0,
                generation: 1,
            },
            touched: Vec::new(),
            outcomes: Vec::new(),
            notices: Vec::new(),
            wakers: Vec::new(),
            id_line: String::new(),
        }
    }

    pub(crate) fn is_of(&self, life: &Arc<Life>) -> bool {
        Arc::ptr_eq(&self.life, life)
    }

    /// Writes a batch that follows directly on the previous one. Once all tapes are written, it moves the
    /// high-water mark; then it confirms publishers, and wakes the readers that wait.
    pub(crate) fn write_batch(&mut self, entries: &[Entry]) {
        let Some((newest, before)) = entries.split_last() else {
            return;
        };
        self.stamp.batch += 1;
        let life = Arc::clone(&self.life);
        {
            let mut directory = life.directory();
            for entry in before {
                self.write(entry, &mut directory);
            }
            let check = self.write(newest, &mut directory);
            let newest = PositionWithId::from(life.position(newest.seq, check));
            life.advance(&mut directory, newest);
        }
        life.confirmations()
            .record(&self.outcomes, &mut self.notices);
        self.outcomes.clear();
        for (publisher, outcome) in self.notices.drain(..) {
            // A publisher that stopped waiting has dropped its receiver.
            publisher.send(outcome).ok();
        }
        for topic in self.touched.drain(..) {
            topic.take_wakers(&mut self.wakers);
            self.wakers.drain(..).for_each(Waker::wake);
        }
        self.forget_oldest();
        meters::batch(entries.len(), self.bytes);
    }

    /// Writes an entry, and returns its check.
    fn write(&mut self, entry: &Entry, directory: &mut Directory) -> EntryCheck {
        let has_ended = self.life.ends().end_of(&entry.channel).is_some();
        let Seal { check, content } = entry.seal();
        match entry.kind {
            EntryKind::Event if has_ended => self.life.ends_mut().skip(entry.seq),
            EntryKind::Event => self.write_event(entry, check, directory),
            EntryKind::End if has_ended => {}
            EntryKind::End => self.write_end(entry, directory),
        }
        self.outcomes.push(Outcome {
            check: (!has_ended).then_some(check),
            content,
        });
        check
    }

    fn write_event(&mut self, entry: &Entry, check: EntryCheck, directory: &mut Directory) {
        let mut id_line = std::mem::take(&mut self.id_line);
        id_line.clear();
        // Writing to a string cannot fail.
        writeln!(id_line, "id: {}", self.life.position(entry.seq, check)).ok();
        // If the channel has no topic yet, all its other entries in the log precede this one.
        let topic = directory.channel_topic(&entry.channel, IdForm::Plain, entry.seq - 1, || None);
        self.push(topic, &id_line, entry);
        for topic in directory.patterns_above(&entry.channel) {
            self.push(topic, &id_line, entry);
        }
        if directory.has_named() {
            id_line.pop();
            writeln!(id_line, ".{}", entry.channel).ok();
            for topic in directory.named(&entry.channel) {
                self.push(topic, &id_line, entry);
            }
        }
        self.id_line = id_line;
    }

    fn write_end(&mut self, entry: &Entry, directory: &Directory) {
        let mut ends = self.life.ends_mut();
        ends.insert(entry.channel.clone(), entry.seq);
        drop(ends);
        for topic in directory.existing(&entry.channel) {
            let was_touched = topic.end(entry.seq, self.stamp);
            self.touch(topic, &was_touched);
        }
    }

    fn push(&mut self, topic: &Arc<Topic>, id_line: &str, entry: &Entry) {
        let pushed = topic.push(entry.seq, id_line, &entry.body, self.stamp);
        self.add(pushed.change);
        self.current.bytes += pushed.length + INDEXED_BYTES;
        self.current.last = entry.seq;
        self.touch(topic, &pushed.was_touched);
    }

    /// Adds the change of a cost.
    fn add(&mut self, change: isize) {
        let Some(bytes) = self.bytes.checked_add_signed(change) else {
            unreachable!("each topic takes back only the cost that it has reported");
        };
        self.bytes = bytes;
    }

    /// Adds the topic to the current batch and generation, if it is not in them.
    fn touch(&mut self, topic: &Arc<Topic>, was_touched: &Touched) {
        if !was_touched.in_batch {
            self.touched.push(Arc::clone(topic));
        }
        if !was_touched.in_generation {
            self.current.topics.push(Arc::clone(topic));
        }
    }

    /// Keeps the cost within `max_bytes`: removes the oldest generations from all tapes.
    fn forget_oldest(&mut self) {
        if self.current.bytes >= self.max_bytes / GENERATIONS {
            self.current.topics.shrink_to_fit();
            self.bytes += self.current.cost();
            self.past.push_back(std::mem::take(&mut self.current));
            self.stamp.generation += 1;
        }
        // The current generation stays, however small the limit is.
        while self.bytes > self.max_bytes
            && let Some(oldest) = self.past.pop_front()
        {
            self.bytes -= oldest.cost();
            for topic in oldest.topics {
                let trimmed = topic.trim(oldest.last);
                self.add(trimmed.change);
                if trimmed.is_emptied {
                    let mut directory = self.life.directory();
                    directory.remove_idle(topic.pattern(), topic.form());
                }
            }
        }
    }
}

impl Generation {
    /// The memory of its list, in bytes.
    fn cost(&self) -> usize {
        self.topics.capacity() * size_of::<Arc<Topic>>()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tidings_proto::{Epoch, Position};

    use super::*;
    use crate::ends::Ends;
    use crate::tape::BLOCK_BYTES;
    use crate::topic::{Cursor, TapeRead};
    use crate::{ChannelName, Pattern};

    const BODY: &[u8] = &[b'x'; 1_000];

    fn new_fan_out(max_bytes: usize) -> FanOut {
        let base = Position {
            epoch: Epoch::new("e").unwrap(),
            seq: 0,
            check: EntryCheck::from_hash(0),
        };
        FanOut::new(Arc::new(Life::new(base, Ends::default())), max_bytes)
    }

    fn entry(seq: u64, channel: &str) -> Entry {
        Entry {
            seq,
            time: seq,
            channel: ChannelName::new(channel).unwrap(),
            kind: EntryKind::Event,
            body: Bytes::from_static(BODY),
        }
    }

    fn end(seq: u64, channel: &str) -> Entry {
        Entry {
            kind: EntryKind::End,
            body: Bytes::new(),
            ..entry(seq, channel)
        }
    }

    /// The bytes of the events on the tapes of these patterns.
    fn on_tapes(life: &Life, names: &[String], form: IdForm) -> usize {
        let cursor = Cursor {
            after: 0,
            max_lag: u64::MAX,
        };
        let held = |name: &String| {
            let pattern = Pattern::new(name).unwrap();
            let (topic, seat) = life.join(&pattern, form);
            let mut at = cursor;
            let mut bytes = 0;
            loop {
                match topic.read(at, life.high()) {
                    TapeRead::Events(piece) => {
                        bytes += piece.events().map(|(_, event)| event.len()).sum::<usize>();
                        at.after = piece.last();
                    }
                    TapeRead::InLog(held) => at.after = held,
                    _ => break,
                }
            }
            life.leave(&topic, seat);
            bytes
        };
        names.iter().map(held).sum()
    }

    #[test]
    fn all_tapes_together_stay_within_their_limit() {
        const MAX: usize = 400_000;
        let names: Vec<_> = (0..50).map(|n| format!("c/{n}")).collect();
        let mut fan_out = new_fan_out(MAX);
        for n in 1..=5_000_usize {
            // Every second event belongs to the first channel.
            let channel = if n % 2 == 0 { 0 } else { n % names.len() };
            fan_out.write_batch(&[entry(n as u64, &names[channel])]);
        }
        let held = on_tapes(&fan_out.life, &names, IdForm::Plain);
        assert!(held <= MAX + MAX / GENERATIONS, "{held}");
        assert!(held > MAX / 4, "{held}");
        assert!(fan_out.past.len() <= GENERATIONS + 1);
    }

    #[test]
    fn tapes_of_both_forms_stay_within_the_limit() {
        const MAX: usize = 400_000;
        let mut fan_out = new_fan_out(MAX);
        let readers = ["c/1".to_owned(), "c/*".to_owned()];
        let seats = readers.each_ref().map(|name| {
            let pattern = Pattern::new(name).unwrap();
            fan_out.life.join(&pattern, IdForm::Named)
        });
        for seq in 1..=5_000 {
            fan_out.write_batch(&[entry(seq, &format!("c/{}", seq % 4))]);
        }
        let names: Vec<_> = (0..4).map(|n| format!("c/{n}")).collect();
        let plain = on_tapes(&fan_out.life, &names, IdForm::Plain);
        let named = on_tapes(&fan_out.life, &readers, IdForm::Named);
        // Each event is on one tape with plain IDs, and on one or two with names.
        assert!(plain < named && named < 2 * plain, "{plain} {named}");
        let held = plain + named;
        assert!(held <= MAX + MAX / GENERATIONS, "{held}");
        assert!(held > MAX / 4, "{held}");
        for (topic, seat) in seats {
            fan_out.life.leave(&topic, seat);
        }
        assert!(!fan_out.life.directory().has_named());
        for seq in 5_001..=10_000 {
            fan_out.write_batch(&[entry(seq, &format!("c/{}", seq % 4))]);
        }
        assert_eq!(on_tapes(&fan_out.life, &readers, IdForm::Named), 0);
        let held = on_tapes(&fan_out.life, &names, IdForm::Plain);
        assert!(held > MAX / 4, "{held}");
    }

    #[test]
    fn a_channel_without_readers_is_removed_with_its_last_event() {
        let mut fan_out = new_fan_out(100_000);
        for seq in 1..=10_000_u64 {
            fan_out.write_batch(&[entry(seq, &format!("c/{seq}"))]);
        }
        let topics = fan_out.life.directory().len();
        assert!(topics <= 100_000 / BODY.len() + 3, "{topics}");
    }

    #[test]
    fn a_channel_with_a_reader_stays() {
        let mut fan_out = new_fan_out(10_000);
        let pattern = Pattern::new("quiet").unwrap();
        let (topic, seat) = fan_out.life.join(&pattern, IdForm::Plain);
        for seq in 1..=100 {
            fan_out.write_batch(&[entry(seq, "loud")]);
        }
        fan_out.write_batch(&[entry(101, "quiet")]);
        let cursor = Cursor {
            after: 0,
            max_lag: u64::MAX,
        };
        assert!(matches!(topic.read(cursor, 101), TapeRead::Events(_)));
        fan_out.life.leave(&topic, seat);
    }

    #[test]
    fn a_new_end_stays_when_an_older_one_is_forgotten_late() {
        let mut fan_out = new_fan_out(100_000);
        let pattern = Pattern::new("a").unwrap();
        let (topic, seat) = fan_out.life.join(&pattern, IdForm::Plain);
        fan_out.write_batch(&[entry(1, "a"), end(2, "a")]);
        // The first half of `forget_ends_before`, as if its caller was delayed before the second half.
        assert_eq!(fan_out.life.ends_mut().forget_before(3).len(), 1);
        fan_out.write_batch(&[entry(3, "a"), end(4, "a")]);
        topic.reopen(3);
        let cursor = Cursor {
            after: 4,
            max_lag: u64::MAX,
        };
        assert!(matches!(topic.read(cursor, 4), TapeRead::Ended));
        topic.reopen(5);
        assert!(matches!(topic.read(cursor, 4), TapeRead::Nothing));
        fan_out.life.leave(&topic, seat);
    }

    #[test]
    fn both_forms_of_a_channel_forget_its_end_with_the_log() {
        let mut fan_out = new_fan_out(100_000);
        let pattern = Pattern::new("a").unwrap();
        let forms = [IdForm::Plain, IdForm::Named];
        let seats = forms.map(|form| fan_out.life.join(&pattern, form));
        let read = |after, high| {
            let max_lag = u64::MAX;
            let read =
                |(topic, _): &(Arc<Topic>, usize)| topic.read(Cursor { after, max_lag }, high);
            seats.each_ref().map(read)
        };
        fan_out.write_batch(&[entry(1, "a"), end(2, "a")]);
        assert!(matches!(read(2, 2), [TapeRead::Ended, TapeRead::Ended]));
        fan_out.life.forget_ends_before(3);
        assert!(matches!(read(2, 2), [TapeRead::Nothing, TapeRead::Nothing]));
        fan_out.write_batch(&[entry(3, "a")]);
        assert!(matches!(
            read(2, 3),
            [TapeRead::Events(_), TapeRead::Events(_)]
        ));
        for (topic, seat) in seats {
            fan_out.life.leave(&topic, seat);
        }
    }

    #[test]
    fn a_topic_of_copies_without_readers_is_not_written() {
        const MAX: usize = 100_000;
        for (pattern, form) in [
            ("c/*", IdForm::Plain),
            ("c/*", IdForm::Named),
            ("c/1", IdForm::Named),
        ] {
            let mut fan_out = new_fan_out(MAX);
            let (topic, seat) = fan_out.life.join(&Pattern::new(pattern).unwrap(), form);
            fan_out.write_batch(&[entry(1, "c/1")]);
            fan_out.life.leave(&topic, seat);
            assert_eq!(fan_out.life.directory().len(), 1);
            for seq in 2..=1_000 {
                fan_out.write_batch(&[entry(seq, "c/1")]);
            }
            assert!(!topic.trim(u64::MAX).is_emptied);
            let held = on_tapes(&fan_out.life, &["c/1".to_owned()], IdForm::Plain);
            assert!(held <= fan_out.bytes && fan_out.bytes <= held + BLOCK_BYTES);
        }
    }
}
