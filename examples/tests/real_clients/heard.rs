//! What a client says it hears, and when.

use std::io::{BufRead, BufReader, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::DEADLINE;

/// The example waits a second between two events; half of it is left to a busy machine.
const LEAST_GAP: Duration = Duration::from_millis(500);

const EVENTS: usize = 6;

pub(crate) type Word = (Instant, String);

pub(crate) struct Heard {
    client: String,
    words: Receiver<Word>,
    deadline: Instant,
}

impl Heard {
    pub(crate) fn new(client: &str, words: Receiver<Word>) -> Self {
        Self {
            client: client.to_owned(),
            words,
            deadline: Instant::now() + DEADLINE,
        }
    }

    pub(crate) fn expect(&self, word: &str) -> Instant {
        let client = &self.client;
        let (at, heard) = self
            .next()
            .unwrap_or_else(|| panic!("{client} ended before it heard {word:?}"));
        assert_eq!(heard, word, "what {client} heard");
        at
    }

    /// All of the example's, each when it was sent and not with the last.
    pub(crate) fn expect_events(&self, prefix: &str) {
        let at: Vec<Instant> = (0..EVENTS)
            .map(|n| self.expect(&format!("{prefix}this is SSE #{n}")))
            .collect();
        for (n, pair) in (1..).zip(at.windows(2)) {
            let gap = pair[1] - pair[0];
            let client = &self.client;
            assert!(
                gap >= LEAST_GAP,
                "{client} heard #{n} {gap:?} after the one before"
            );
        }
    }

    pub(crate) fn expect_any(&self) -> String {
        let word = self.next();
        word.unwrap_or_else(|| panic!("{} ended early", self.client))
            .1
    }

    pub(crate) fn expect_end(&self) {
        let word = self.next();
        assert!(word.is_none(), "{} also heard {word:?}", self.client);
    }

    fn next(&self) -> Option<Word> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        match self.words.recv_timeout(left) {
            Ok(word) => Some(word),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("{} took over {DEADLINE:?}", self.client),
        }
    }
}

/// One by one: half of what came may be late, and close to the next.
pub(crate) fn assert_apart(at: &[Instant], least: Duration) {
    let mut gaps: Vec<Duration> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    gaps.sort_unstable();
    assert!(gaps[gaps.len() / 2] >= least, "in lumps: {gaps:?}");
}

/// The lines of `output` that begin with `prefix`, as they come.
pub(crate) fn lines(output: impl Read + Send + 'static, prefix: &str) -> Receiver<Word> {
    let (sender, words) = channel();
    let prefix = prefix.to_owned();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if line.starts_with(&prefix) && sender.send((Instant::now(), line)).is_err() {
                break;
            }
        }
    });
    words
}
