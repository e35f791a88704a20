//! Checks of a decoder: its options, its chunks, and its result beside the oracle's.

use std::time::Duration;

use tidings_proto::{Comments, Decoder, Event, EventId, EventTooLarge, MAX_EVENT_BYTES};

use crate::oracle;

/// The settings of a [`Decoder`] before it reads a stream.
#[derive(Debug, Clone)]
pub struct Options {
    /// See [`Decoder::comments`].
    pub comments: Comments,
    /// See [`Decoder::show_retry_events`].
    pub show_retry_events: bool,
    /// See [`Decoder::max_event_bytes`].
    pub max_event_bytes: usize,
    /// See [`Decoder::skip_large_events`].
    pub skip_large_events: bool,
    /// See [`Decoder::set_last_event_id`].
    pub last_event_id: Option<EventId>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            comments: Comments::default(),
            show_retry_events: false,
            max_event_bytes: MAX_EVENT_BYTES,
            skip_large_events: false,
            last_event_id: None,
        }
    }
}

impl Options {
    /// Options that show comments and retry events.
    #[must_use]
    pub fn show_all() -> Self {
        Self {
            comments: Comments::Shown,
            show_retry_events: true,
            ..Self::default()
        }
    }

    /// A decoder with these options, at the beginning of a stream.
    #[must_use]
    pub fn decoder(&self) -> Decoder {
        let mut decoder = Decoder::new()
            .comments(self.comments)
            .show_retry_events(self.show_retry_events)
            .max_event_bytes(self.max_event_bytes)
            .skip_large_events(self.skip_large_events);
        if let Some(id) = &self.last_event_id {
            decoder.set_last_event_id(id);
        }
        decoder
    }
}

/// The result of decoding a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decoded {
    /// The events, in order.
    pub events: Vec<Event>,
    /// The last event ID at the end.
    pub last_event_id: Option<String>,
    /// The reconnection time at the end.
    pub reconnection_time: Option<Duration>,
    /// Whether a block over the limit ended the stream.
    pub too_large: bool,
    /// The blocks over the limit that were skipped, in order.
    pub skipped: Vec<Skipped>,
}

/// A block over the limit that was skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The number of events before it.
    pub events_before: usize,
    /// Its size. 0 if the stream is not UTF-8: then it depends on the chunks.
    pub size: usize,
    /// The last event ID after it.
    pub last_event_id: Option<String>,
}

impl Decoded {
    /// Adds an error to the result. Returns whether the stream continues.
    fn note(&mut self, error: &EventTooLarge, options: &Options) -> Fed {
        if !options.skip_large_events {
            self.too_large = true;
            return Fed::TooLarge;
        }
        self.skipped.push(Skipped {
            events_before: self.events.len(),
            size: error.size(),
            last_event_id: error.last_event_id().map(|id| id.as_str().to_owned()),
        });
        Fed::Whole
    }
}

/// Decodes by iterating over owned events.
#[must_use]
pub fn decode(chunks: &[&[u8]], options: &Options) -> Decoded {
    drive(chunks, options, |decoder, chunk, decoded| {
        for event in decoder.decode(chunk) {
            match event {
                Ok(event) => decoded.events.push(event),
                Err(error) => {
                    if decoded.note(&error, options) == Fed::TooLarge {
                        return Fed::TooLarge;
                    }
                }
            }
        }
        Fed::Whole
    })
}

/// Decodes by [`Events::try_next_ref`](tidings_proto::Events::try_next_ref).
#[must_use]
pub fn decode_borrowed(chunks: &[&[u8]], options: &Options) -> Decoded {
    drive(chunks, options, |decoder, chunk, decoded| {
        let mut events = decoder.decode(chunk);
        loop {
            match events.try_next_ref() {
                Ok(Some(event)) => decoded.events.push(event.to_event()),
                Ok(None) => return Fed::Whole,
                Err(error) => {
                    if decoded.note(&error, options) == Fed::TooLarge {
                        return Fed::TooLarge;
                    }
                }
            }
        }
    })
}

#[derive(PartialEq, Eq)]
enum Fed {
    Whole,
    TooLarge,
}

fn drive(
    chunks: &[&[u8]],
    options: &Options,
    mut feed: impl FnMut(&mut Decoder, &[u8], &mut Decoded) -> Fed,
) -> Decoded {
    let mut decoder = options.decoder();
    let mut decoded = Decoded::default();
    chunks
        .iter()
        .any(|chunk| feed(&mut decoder, chunk, &mut decoded) == Fed::TooLarge);
    if std::str::from_utf8(&chunks.concat()).is_err() {
        decoded
            .skipped
            .iter_mut()
            .for_each(|skipped| skipped.size = 0);
    }
    Decoded {
        last_event_id: decoder.last_event_id().map(str::to_owned),
        reconnection_time: decoder.reconnection_time(),
        ..decoded
    }
}

/// Cuts a stream into chunks of these lengths; the rest is the last chunk.
#[must_use]
pub fn cut(stream: &[u8], lengths: impl IntoIterator<Item = usize>) -> Vec<&[u8]> {
    let mut rest = stream;
    let mut chunks: Vec<&[u8]> = Vec::new();
    for length in lengths {
        let (chunk, after) = rest.split_at(length.min(rest.len()));
        chunks.push(chunk);
        rest = after;
    }
    chunks.push(rest);
    chunks
}

/// Cuts a stream into single bytes.
#[must_use]
pub fn bytewise(stream: &[u8]) -> Vec<&[u8]> {
    stream.chunks(1).collect()
}

/// Asserts that owned and borrowed events both equal the oracle's, which reads the whole stream.
///
/// # Panics
/// If they differ.
pub fn check(chunks: &[&[u8]], options: &Options) {
    check_against(&oracle::decode(&chunks.concat(), options), chunks, options);
}

/// As [`check`]: whole, byte by byte, and cut in two at every offset.
///
/// # Panics
/// If a cut changes the result.
pub fn check_every_cut(stream: &[u8], options: &Options) {
    let expected = oracle::decode(stream, options);
    check_against(&expected, &[stream], options);
    check_against(&expected, &bytewise(stream), options);
    for offset in 0..=stream.len() {
        check_against(&expected, &cut(stream, [offset]), options);
    }
}

fn check_against(expected: &Decoded, chunks: &[&[u8]], options: &Options) {
    for (way, decoded) in [
        ("owned", decode(chunks, options)),
        ("borrowed", decode_borrowed(chunks, options)),
    ] {
        assert!(
            decoded == *expected,
            "{way} events differ from the oracle's\n chunks: {}\noptions: {options:?}\n decoded: {decoded:?}\n  oracle: {expected:?}",
            shown(chunks),
        );
    }
}

fn shown(chunks: &[&[u8]]) -> String {
    let chunks: Vec<String> = chunks
        .iter()
        .map(|chunk| format!("b\"{}\"", chunk.escape_ascii()))
        .collect();
    chunks.join(", ")
}
