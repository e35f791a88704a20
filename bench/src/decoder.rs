//! The decoder's bench: all contenders decode the same chunks and look at the data of each event.

use std::convert::Infallible;
use std::hint::black_box;
use std::path::Path;
use std::pin::pin;

use bytes::Bytes;
use futures::executor::block_on;
use futures::stream::{self, Stream, StreamExt};
use tidings_proto::Decoder;

use crate::harness::{Case, Report, Request, Result, Sample, Tally, Target, Wanted};

const BORROWED: &str = "tidings, borrowed";
const OWNED: &str = "tidings, owned";
const SSE_STREAM: &str = "sse-stream";
const SSEER: &str = "sseer";
const EVENTSOURCE_STREAM: &str = "eventsource-stream";
/// Only counts line ends.
const SCAN: &str = "bare memchr2";

const CONTENDERS: [&str; 6] = [BORROWED, OWNED, SSE_STREAM, SSEER, EVENTSOURCE_STREAM, SCAN];

/// eventsource-stream rescans its line with every chunk: in these cases it would run for minutes.
const CONTENDERS_OF_ONE_EVENT: [&str; 5] = [BORROWED, OWNED, SSE_STREAM, SSEER, SCAN];

const MB: usize = 1024 * 1024;

/// Samples are repeated until they are this long.
const INPUT_BYTES: usize = 4 * MB;

/// The largest chunk of a body whose server is ahead.
const CHUNK_BYTES: usize = 16 * 1024;

/// The payload of a TCP segment on Ethernet.
const SEGMENT_BYTES: usize = 1460;

const EVENT_SIZES_MB: [usize; 4] = [1, 2, 4, 8];

#[derive(Clone, Copy)]
enum Input {
    OpenAiChat,
    OpenAiResponses,
    Anthropic,
    Wikimedia,
    BuildLog,
    Tiny,
    /// A single event of this many MB, on one line.
    OneEvent(usize),
    /// A single event of this many MB, in short lines.
    ManyLines(usize),
}

#[derive(Clone, Copy)]
enum Cut {
    Chunks,
    /// One event per chunk, as HTTP delivers live events.
    Events,
    Segments,
}

struct DecoderCase {
    input: Input,
    cut: Cut,
}

fn decoder_cases() -> impl Iterator<Item = DecoderCase> {
    let streams = [
        Input::OpenAiChat,
        Input::OpenAiResponses,
        Input::Anthropic,
        Input::Wikimedia,
        Input::BuildLog,
        Input::Tiny,
    ];
    let cut_streams = [Cut::Chunks, Cut::Events]
        .into_iter()
        .flat_map(move |cut| streams.map(|input| DecoderCase { input, cut }));
    let one_event = EVENT_SIZES_MB.map(|mb| DecoderCase {
        input: Input::OneEvent(mb),
        cut: Cut::Segments,
    });
    let many_lines = [1, 8].map(|mb| DecoderCase {
        input: Input::ManyLines(mb),
        cut: Cut::Segments,
    });
    cut_streams.chain(one_event).chain(many_lines)
}

impl DecoderCase {
    fn name(&self) -> String {
        let input = match self.input {
            Input::OpenAiChat => "OpenAI chat",
            Input::OpenAiResponses => "OpenAI responses",
            Input::Anthropic => "Anthropic",
            Input::Wikimedia => "Wikimedia",
            Input::BuildLog => "build log, multi-line",
            Input::Tiny => "tiny",
            Input::OneEvent(mb) => return one_event(mb),
            Input::ManyLines(mb) => return many_lines(mb),
        };
        match self.cut {
            Cut::Chunks => format!("{input}, 16 KiB a chunk"),
            Cut::Events => format!("{input}, one event a chunk"),
            Cut::Segments => format!("{input}, {SEGMENT_BYTES} B a chunk"),
        }
    }

    fn contenders(&self) -> Vec<&'static str> {
        match self.input {
            Input::OneEvent(_) | Input::ManyLines(_) => CONTENDERS_OF_ONE_EVENT.to_vec(),
            _ => CONTENDERS.to_vec(),
        }
    }

    fn chunks(&self) -> Result<Vec<Bytes>> {
        // Static bytes are cheap to hand out, so the bench measures decoding. sseer gains most, as
        // its events are slices of the chunk: it counts no references.
        let stream = Bytes::from_static(self.input.bytes()?.leak());
        Ok(match self.cut {
            Cut::Chunks => cut_every(CHUNK_BYTES, &stream),
            Cut::Events => cut_after_events(&stream),
            Cut::Segments => cut_every(SEGMENT_BYTES, &stream),
        })
    }
}

fn one_event(mb: usize) -> String {
    format!("one event of {mb} MB, {SEGMENT_BYTES} B a chunk")
}

fn many_lines(mb: usize) -> String {
    format!("one event of {mb} MB in lines, {SEGMENT_BYTES} B a chunk")
}

impl Input {
    fn bytes(self) -> Result<Vec<u8>> {
        Ok(match self {
            Self::OpenAiChat => repeat(&read_stream("openai_chat.sse")?),
            Self::OpenAiResponses => repeat(&read_stream("openai_responses.sse")?),
            Self::Anthropic => repeat(&read_stream("anthropic_messages.sse")?),
            Self::Wikimedia => repeat(&read_stream("wikimedia_recentchange.sse")?),
            Self::BuildLog => repeat(&read_stream("build_log_crlf.sse")?),
            Self::Tiny => repeat(b"data: x\n\n"),
            Self::OneEvent(mb) => format!("data: {}\n\n", "x".repeat(mb * MB)).into_bytes(),
            Self::ManyLines(mb) => {
                let line = format!("data: {}\n", "x".repeat(93));
                format!("{}\n", line.repeat(mb * MB / line.len())).into_bytes()
            }
        })
    }
}

fn read_stream(name: &str) -> Result<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../crates/testkit/streams")
        .join(name);
    std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()).into())
}

fn repeat(sample: &[u8]) -> Vec<u8> {
    sample.repeat(INPUT_BYTES.div_ceil(sample.len()))
}

fn cut_every(size: usize, stream: &Bytes) -> Vec<Bytes> {
    stream
        .chunks(size)
        .map(|chunk| stream.slice_ref(chunk))
        .collect()
}

fn cut_after_events(stream: &Bytes) -> Vec<Bytes> {
    let mut chunks = Vec::new();
    let mut begin = 0;
    let mut end = 0;
    for line in stream.split_inclusive(|&byte| byte == b'\n') {
        end += line.len();
        if matches!(line, b"\n" | b"\r\n") {
            chunks.push(stream.slice(begin..end));
            begin = end;
        }
    }
    chunks.push(stream.slice(begin..));
    chunks
}

pub fn cases() -> Vec<Case> {
    decoder_cases()
        .map(|case| Case {
            name: case.name(),
            unit: "byte",
            baseline: SSE_STREAM,
            contenders: case.contenders(),
            absent: Vec::new(),
        })
        .collect()
}

pub fn sample(request: &Request) -> Result<Sample> {
    let case = decoder_cases()
        .find(|case| case.name() == request.case)
        .ok_or_else(|| format!("no case is named {}", request.case))?;
    let pass = match &*request.contender {
        BORROWED => |chunks: &[Bytes]| Some(borrowed(chunks)),
        OWNED => |chunks: &[Bytes]| Some(owned(chunks)),
        SSE_STREAM => |chunks: &[Bytes]| Some(sse_stream(chunks)),
        SSEER => |chunks: &[Bytes]| Some(sseer(chunks)),
        EVENTSOURCE_STREAM => |chunks: &[Bytes]| Some(eventsource_stream(chunks)),
        SCAN => scan,
        other => return Err(format!("no contender is named {other}").into()),
    };
    let chunks = case.chunks()?;
    let bytes = chunks.iter().map(Bytes::len).sum::<usize>() as u64;
    Sample::take(request, bytes, || pass(&chunks))
}

/// The chunks as a body returns them. All contenders take them from here.
fn receive(chunks: &[Bytes]) -> impl Iterator<Item = Bytes> {
    chunks.iter().cloned()
}

fn receive_stream(chunks: &[Bytes]) -> impl Stream<Item = std::result::Result<Bytes, Infallible>> {
    stream::iter(receive(chunks).map(Ok))
}

impl Tally {
    /// Counts an event. No contender can avoid producing its data.
    #[inline]
    fn add(&mut self, data: &str) {
        self.events += 1;
        self.data_bytes += black_box(data).len() as u64;
    }
}

fn borrowed(chunks: &[Bytes]) -> Tally {
    let mut tally = Tally::default();
    let mut decoder = Decoder::new();
    for chunk in receive(chunks) {
        let mut events = decoder.decode(&chunk);
        while let Some(event) = events.try_next_ref().expect("under the limit") {
            tally.add(event.text());
        }
    }
    tally
}

fn owned(chunks: &[Bytes]) -> Tally {
    let mut tally = Tally::default();
    let mut decoder = Decoder::new();
    for chunk in receive(chunks) {
        for event in decoder.decode(&chunk) {
            tally.add(event.expect("under the limit").text());
        }
    }
    tally
}

fn sse_stream(chunks: &[Bytes]) -> Tally {
    let mut tally = Tally::default();
    let mut events = pin!(sse_stream::SseByteStream::new(receive_stream(chunks)));
    block_on(async {
        while let Some(event) = events.next().await {
            // Only this contender counts a block without data as an event.
            if let Some(data) = event.expect("valid").data {
                tally.add(&data);
            }
        }
    });
    tally
}

fn sseer(chunks: &[Bytes]) -> Tally {
    let mut tally = Tally::default();
    let mut events = pin!(sseer::EventStream::new(receive_stream(chunks)));
    block_on(async {
        while let Some(event) = events.next().await {
            tally.add(&event.expect("valid").data);
        }
    });
    tally
}

fn eventsource_stream(chunks: &[Bytes]) -> Tally {
    let mut tally = Tally::default();
    let mut events = pin!(eventsource_stream::EventStream::new(receive_stream(chunks)));
    block_on(async {
        while let Some(event) = events.next().await {
            tally.add(&event.expect("valid").data);
        }
    });
    tally
}

fn scan(chunks: &[Bytes]) -> Option<Tally> {
    let ends: usize = receive(chunks)
        .map(|chunk| memchr::memchr2_iter(b'\n', b'\r', &chunk).count())
        .sum();
    black_box(ends);
    None
}

/// The promised ratios, which also hold on other machines.
pub fn targets(report: &Report) -> Vec<Target> {
    let faster = |input, cut, contender, other, ratio| {
        let case = DecoderCase { input, cut }.name();
        Some(Target {
            what: format!("{case}: {contender} against {other}"),
            wanted: Wanted::AtLeast(ratio),
            alarm: None,
            found: report.speedup(&case, contender, other)?,
        })
    };
    let borrowed = [
        (Input::OpenAiChat, Cut::Chunks, 2.0),
        (Input::OpenAiResponses, Cut::Chunks, 2.0),
        (Input::Anthropic, Cut::Chunks, 2.0),
        (Input::Wikimedia, Cut::Chunks, 1.6),
        (Input::BuildLog, Cut::Chunks, 2.0),
        (Input::Tiny, Cut::Chunks, 6.0),
        (Input::OpenAiChat, Cut::Events, 1.8),
        (Input::OpenAiResponses, Cut::Events, 1.8),
        (Input::Anthropic, Cut::Events, 1.8),
        (Input::Wikimedia, Cut::Events, 1.5),
        (Input::BuildLog, Cut::Events, 1.8),
        (Input::Tiny, Cut::Events, 2.0),
    ];
    let of_scan = faster(Input::OpenAiChat, Cut::Chunks, BORROWED, SCAN, 0.6);
    let borrowed_targets = borrowed
        .iter()
        .filter_map(|&(input, cut, ratio)| faster(input, cut, BORROWED, SSE_STREAM, ratio));
    let owned_targets = borrowed.iter().filter_map(|&(input, cut, _)| {
        let ratio = match cut {
            Cut::Chunks => 1.4,
            Cut::Events | Cut::Segments => 1.0,
        };
        faster(input, cut, OWNED, SSE_STREAM, ratio)
    });
    let large = EVENT_SIZES_MB.map(Input::OneEvent);
    let large = large.into_iter().chain([1, 8].map(Input::ManyLines));
    let large_targets = large
        .flat_map(|input| [(input, BORROWED), (input, OWNED)])
        .filter_map(|(input, contender)| faster(input, Cut::Segments, contender, SSE_STREAM, 1.0));
    let one_line = [BORROWED, OWNED].map(|contender| (contender, one_event as fn(usize) -> String));
    let in_lines =
        [BORROWED, OWNED].map(|contender| (contender, many_lines as fn(usize) -> String));
    let linear = one_line
        .into_iter()
        .chain(in_lines)
        .filter_map(|(contender, name)| {
            Some(Target {
                what: format!("{contender}: a byte of {} against {}", name(8), name(1)),
                wanted: Wanted::AtMost(1.5),
                alarm: None,
                found: report.slowdown(contender, &name(8), &name(1))?,
            })
        });
    borrowed_targets
        .chain(of_scan)
        .chain(owned_targets)
        .chain(large_targets)
        .chain(linear)
        .collect()
}
