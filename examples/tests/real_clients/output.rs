//! `Output`: the lines that a client prints or posts, and when.

use std::io::{BufRead, BufReader, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::DEADLINE;

/// The example waits a second between two events. A busy machine may shorten the gap by half.
const LEAST_GAP: Duration = Duration::from_millis(500);

const EVENTS: usize = 6;

pub(crate) type Line = (Instant, String);

pub(crate) struct Output {
    client: String,
    lines: Receiver<Line>,
    deadline: Instant,
}

impl Output {
    pub(crate) fn new(client: &str, lines: Receiver<Line>) -> Self {
        Self {
            client: client.to_owned(),
            lines,
            deadline: Instant::now() + DEADLINE,
        }
    }

    pub(crate) fn expect(&self, line: &str) -> Instant {
        let client = &self.client;
        let (at, received) = self
            .next()
            .unwrap_or_else(|| panic!("{client} ended before the line {line:?}"));
        assert_eq!(received, line, "the next line of {client}");
        at
    }

    /// All events of the example, each at the time it was sent.
    pub(crate) fn expect_events(&self, prefix: &str) {
        let at: Vec<Instant> = (0..EVENTS)
            .map(|n| self.expect(&format!("{prefix}this is SSE #{n}")))
            .collect();
        for (n, pair) in (1..).zip(at.windows(2)) {
            let gap = pair[1] - pair[0];
            let client = &self.client;
            assert!(
                gap >= LEAST_GAP,
                "{client} received #{n} {gap:?} after the one before"
            );
        }
    }

    pub(crate) fn expect_any(&self) -> String {
        let line = self.next();
        line.unwrap_or_else(|| panic!("{} ended early", self.client))
            .1
    }

    pub(crate) fn expect_end(&self) {
        let line = self.next();
        assert!(line.is_none(), "{} also printed {line:?}", self.client);
    }

    fn next(&self) -> Option<Line> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        match self.lines.recv_timeout(left) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("{} took over {DEADLINE:?}", self.client),
        }
    }
}

/// The events arrived one by one: at least half of the gaps are this long.
pub(crate) fn assert_apart(at: &[Instant], least: Duration) {
    let mut gaps: Vec<Duration> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    gaps.sort_unstable();
    assert!(gaps[gaps.len() / 2] >= least, "in bursts: {gaps:?}");
}

/// The lines of `output` that begin with `prefix`, as they arrive.
pub(crate) fn lines(output: impl Read + Send + 'static, prefix: &str) -> Receiver<Line> {
    let (sender, lines) = channel();
    let prefix = prefix.to_owned();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if line.starts_with(&prefix) && sender.send((Instant::now(), line)).is_err() {
                break;
            }
        }
    });
    lines
}
