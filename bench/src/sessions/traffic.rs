//! The traffic: the events that a server sends, and their bytes.

use std::fmt::Write as _;

use bytes::Bytes;

use crate::harness::{Result, Tally};

/// The number of different events, before they repeat.
const PATTERN_EVENTS: u64 = 1000;

/// The largest frame of a body without chunks.
const FRAME_BYTES: usize = 64 * 1024;

#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Traffic {
    pub data: Data,
    pub framing: Framing,
    pub reader: Reader,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Data {
    /// 20 to 40 bytes.
    Small,
    /// 1 KB.
    Large,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// One HTTP chunk per event; many chunks per write.
    Chunks,
    /// One HTTP chunk per event; one write per chunk.
    Writes,
    /// The body ends when the connection is closed.
    UntilClose,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// The client runs in a task; another task wakes it by queueing it.
    Task,
    /// The runtime blocks on the client, as in a `main`: each wake from another task goes through the
    /// kernel, by an eventfd and epoll.
    Main,
}

impl Traffic {
    pub const ALL: [Self; 6] = [
        Self::new(Data::Small, Framing::Chunks),
        Self::new(Data::Small, Framing::Chunks).in_main(),
        Self::new(Data::Small, Framing::UntilClose),
        Self::new(Data::Large, Framing::Chunks),
        Self::new(Data::Large, Framing::UntilClose),
        Self::new(Data::Small, Framing::Writes),
    ];

    pub const fn new(data: Data, framing: Framing) -> Self {
        Self {
            data,
            framing,
            reader: Reader::Task,
        }
    }

    pub const fn in_main(mut self) -> Self {
        self.reader = Reader::Main;
        self
    }

    pub fn named(name: &str) -> Result<Self> {
        let named = Self::ALL.into_iter().find(|traffic| traffic.name() == name);
        named.ok_or_else(|| format!("no case is named {name}").into())
    }

    pub fn name(self) -> String {
        let data = match self.data {
            Data::Small => "20–40 B",
            Data::Large => "1 KB",
        };
        let framing = match self.framing {
            Framing::Chunks => "a chunk an event",
            Framing::Writes => "a chunk and a write an event",
            Framing::UntilClose => "un-chunked",
        };
        match self.reader {
            Reader::Task => format!("{data}, {framing}"),
            Reader::Main => format!("{data}, {framing}, in main"),
        }
    }

    fn patterns(self, quick: bool) -> u64 {
        match (self.data, self.framing) {
            (Data::Small, Framing::Chunks | Framing::UntilClose) if quick => 50,
            (Data::Small, Framing::Chunks | Framing::UntilClose) => 1000,
            _ if quick => 10,
            _ => 100,
        }
    }

    /// The expected result.
    pub fn tally(self, quick: bool) -> Tally {
        let data = self.data.pattern();
        let mut tally = Tally::default();
        for _ in 0..self.patterns(quick) {
            data.iter().for_each(|data| tally.count(data));
        }
        tally
    }

    pub fn head(self) -> &'static [u8] {
        match self.framing {
            Framing::Chunks | Framing::Writes => {
                b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                  connection: close\r\ntransfer-encoding: chunked\r\n\r\n"
            }
            Framing::UntilClose => {
                b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
            }
        }
    }

    /// The writes after the head, call by call.
    pub fn writes(self, quick: bool) -> Vec<Bytes> {
        let frames = self.data.pattern().into_iter().map(|data| {
            let event = event(&data);
            match self.framing {
                Framing::Chunks | Framing::Writes => chunk(&event),
                Framing::UntilClose => event,
            }
        });
        let frames: Vec<Bytes> = match self.framing {
            Framing::Writes => frames.map(Bytes::from).collect(),
            Framing::Chunks | Framing::UntilClose => vec![frames.collect::<String>().into()],
        };
        let end = matches!(self.framing, Framing::Chunks | Framing::Writes).then(|| chunk(""));
        repeat(&frames, self.patterns(quick))
            .chain(end.map(Bytes::from))
            .collect()
    }

    /// The body's frames as a client's HTTP library returns them. The pattern is in memory once, so that
    /// the bytes take as little cache as they do there.
    pub fn frames(self, quick: bool) -> Vec<Bytes> {
        let events = self.data.pattern().into_iter().map(|data| event(&data));
        let frames: Vec<Bytes> = match self.framing {
            Framing::Chunks | Framing::Writes => events.map(Bytes::from).collect(),
            Framing::UntilClose => {
                let body = Bytes::from(events.collect::<String>());
                let frames = body.chunks(FRAME_BYTES);
                frames.map(|frame| body.slice_ref(frame)).collect()
            }
        };
        repeat(&frames, self.patterns(quick)).collect()
    }

    pub fn body_bytes(self, quick: bool) -> u64 {
        let events = self.data.pattern().into_iter().map(|data| event(&data));
        let bytes: usize = events.map(|event| event.len()).sum();
        bytes as u64 * self.patterns(quick)
    }
}

impl Data {
    /// The data of each event: letters and spaces that differ.
    fn pattern(self) -> Vec<String> {
        let mut seed: u64 = 1;
        let mut random = move |below: u64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed % below
        };
        let mut text = |_| {
            let bytes = match self {
                Self::Small => 20 + random(21),
                Self::Large => 1000,
            };
            let letters = (0..bytes).map(|_| b"abcdefghijklmnopqrstuvwxyz "[random(27) as usize]);
            letters.map(char::from).collect()
        };
        (0..PATTERN_EVENTS).map(&mut text).collect()
    }
}

fn event(data: &str) -> String {
    format!("data: {data}\n\n")
}

fn chunk(text: &str) -> String {
    let mut chunk = String::new();
    write!(chunk, "{:x}\r\n{text}\r\n", text.len()).expect("a string takes all");
    chunk
}

fn repeat(frames: &[Bytes], times: u64) -> impl Iterator<Item = Bytes> {
    (0..times).flat_map(|_| frames.iter().cloned())
}

impl Tally {
    /// Counts an event and looks at three bytes of its data, so that no contender can avoid producing
    /// it or change the order. More bytes would be measured too.
    #[inline]
    pub fn count(&mut self, data: &str) {
        let data = std::hint::black_box(data).as_bytes();
        let at = |at: usize| u32::from(data.get(at).copied().unwrap_or_default());
        self.events += 1;
        self.data_bytes += data.len() as u64;
        let (middle, last) = (data.len() / 2, data.len().wrapping_sub(1));
        let sum = (at(0) << 16) | (at(middle) << 8) | at(last);
        self.checksum = self.checksum.wrapping_mul(31).wrapping_add(sum);
    }
}
