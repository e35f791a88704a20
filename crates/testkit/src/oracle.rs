//! The oracle: a decoder so simple that a reader can check it against the standard.
//!
//! It shares no code with the decoder under test. It reads the whole stream at once, copies
//! everything, and follows the text of the standard step by step:
//! [parsing](https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream),
//! [interpreting](https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation),
//! [UTF-8](https://encoding.spec.whatwg.org/#utf-8-decoder).

use std::iter::{Copied, Peekable};
use std::slice;
use std::time::Duration;

use tidings_proto::{Comments, Event, EventId, EventName};

use crate::decoding::{Decoded, Options, Skipped};

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// The meaning of a stream that consists of these bytes.
#[must_use]
pub fn decode(stream: &[u8], options: &Options) -> Decoded {
    let text = stream.strip_prefix(BOM).unwrap_or(stream);
    let mut interpreter = Interpreter::new(options);
    let is_utf8 = std::str::from_utf8(stream).is_ok();
    let outcome = whole_lines(&utf8_decode(text))
        .iter()
        .try_for_each(|line| interpreter.read(line))
        .and_then(|()| interpreter.hold(unfinished_line(stream)));
    Decoded {
        events: interpreter.events,
        last_event_id: interpreter.last_event_id,
        reconnection_time: interpreter.reconnection_time,
        too_large: outcome.is_err(),
        skipped: interpreter
            .skipped
            .into_iter()
            .map(|skipped| Skipped {
                size: if is_utf8 { skipped.size } else { 0 },
                ..skipped
            })
            .collect(),
    }
}

fn utf8_decode(bytes: &[u8]) -> String {
    let mut bytes = bytes.iter().copied().peekable();
    let mut text = String::new();
    while let Some(byte) = bytes.next() {
        text.push(decode_char(byte, &mut bytes).unwrap_or(char::REPLACEMENT_CHARACTER));
    }
    text
}

/// The character that begins with this byte; `None` if the bytes form no character.
fn decode_char(first: u8, rest: &mut Peekable<Copied<slice::Iter<'_, u8>>>) -> Option<char> {
    let (bits, needed, mut allowed) = match first {
        0x00..=0x7F => (first, 0, 0x80..=0xBF),
        0xC2..=0xDF => (first & 0x1F, 1, 0x80..=0xBF),
        0xE0 => (0x0, 2, 0xA0..=0xBF),
        0xED => (0xD, 2, 0x80..=0x9F),
        0xE1..=0xEF => (first & 0xF, 2, 0x80..=0xBF),
        0xF0 => (0, 3, 0x90..=0xBF),
        0xF1..=0xF3 => (first & 0x7, 3, 0x80..=0xBF),
        0xF4 => (4, 3, 0x80..=0x8F),
        _ => return None,
    };
    let mut code_point = u32::from(bits);
    for _ in 0..needed {
        let byte = rest.next_if(|byte| allowed.contains(byte))?;
        code_point = code_point << 6 | u32::from(byte & 0x3F);
        allowed = 0x80..=0xBF;
    }
    char::from_u32(code_point)
}

/// The lines that have a line end, without it.
fn whole_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\r' => {
                chars.next_if_eq(&'\n');
                lines.push(std::mem::take(&mut line));
            }
            '\n' => lines.push(std::mem::take(&mut line)),
            _ => line.push(char),
        }
    }
    lines
}

/// The bytes after the last line end. A prefix of a BOM does not count as text yet.
fn unfinished_line(stream: &[u8]) -> &[u8] {
    if BOM.starts_with(stream) {
        return &[];
    }
    let text = stream.strip_prefix(BOM).unwrap_or(stream);
    let begin = text
        .iter()
        .rposition(|byte| matches!(byte, b'\n' | b'\r'))
        .map_or(0, |end| end + 1);
    &text[begin..]
}

struct Interpreter<'a> {
    options: &'a Options,

    /// The standard's buffers. Here and below, each line is appended with an LF; the last LF is
    /// stripped when the buffer is used.
    data: String,
    event_type: Option<String>,
    id: Option<String>,
    /// Comments and the retry time, which the options may show.
    comments: String,
    retry: Option<Duration>,
    /// The size of the block, if it is over the limit and skipped.
    skipping: Option<usize>,

    skipped: Vec<Skipped>,
    events: Vec<Event>,
    last_event_id: Option<String>,
    reconnection_time: Option<Duration>,
}

struct TooLarge;

impl<'a> Interpreter<'a> {
    fn new(options: &'a Options) -> Self {
        Self {
            options,
            data: String::new(),
            event_type: None,
            id: None,
            comments: String::new(),
            retry: None,
            skipping: None,
            skipped: Vec::new(),
            events: Vec::new(),
            last_event_id: options.last_event_id.as_deref().map(str::to_owned),
            reconnection_time: None,
        }
    }

    fn read(&mut self, line: &str) -> Result<(), TooLarge> {
        if line.is_empty() {
            self.dispatch();
            return Ok(());
        }
        self.hold(line.as_bytes())?;
        if let Some(size) = &mut self.skipping {
            if line.starts_with(':') && self.options.comments == Comments::Skipped {
                return Ok(());
            }
            *size += line.len();
            if line.len() > self.options.max_event_bytes {
                return Ok(());
            }
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        if line.starts_with(':') {
            self.comment(value);
        } else {
            self.field(name, value);
        }
        Ok(())
    }

    /// Fails if this line and the unfinished block together exceed the limit.
    fn hold(&mut self, line: &[u8]) -> Result<(), TooLarge> {
        if line.starts_with(b":") && self.options.comments == Comments::Skipped {
            return Ok(());
        }
        if self.skipping.is_some() {
            return Ok(());
        }
        let text = |value: &Option<String>| value.as_ref().map_or(0, String::len);
        let comments = joined(&self.comments).map_or(0, str::len);
        let needed = joined(&self.data).map_or(0, str::len)
            + text(&self.event_type)
            + text(&self.id)
            + line.len();
        let limit = self.options.max_event_bytes;
        let may_forget = self.options.comments == Comments::Attached;
        if needed > limit || (needed + comments > limit && !may_forget) {
            if !self.options.skip_large_events {
                return Err(TooLarge);
            }
            let comments = if may_forget { 0 } else { comments };
            self.skipping = Some(needed + comments - line.len());
            self.data.clear();
            self.event_type = None;
            self.comments.clear();
            self.retry = None;
            return Ok(());
        }
        if needed + comments > limit {
            self.comments.clear();
        }
        Ok(())
    }

    fn comment(&mut self, text: &str) {
        match self.options.comments {
            Comments::Skipped => {}
            Comments::Immediate => self.events.push(Event {
                id: self.id_in_effect(),
                ..Event::comment(text)
            }),
            _ if self.skipping.is_some() => {}
            _ => {
                self.comments.push_str(text);
                self.comments.push('\n');
            }
        }
    }

    fn field(&mut self, name: &str, value: &str) {
        match name {
            "data" | "event" if self.skipping.is_some() => {}
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "event" => self.event_type = Some(value.to_owned()),
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            "retry" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                // Digits fail to parse only if the number is too large.
                let time = Duration::from_millis(value.parse().unwrap_or(u64::MAX));
                self.retry = Some(time).filter(|_| self.skipping.is_none());
                self.reconnection_time = Some(time);
            }
            _ => {}
        }
    }

    fn dispatch(&mut self) {
        if let Some(id) = self.id.take() {
            self.last_event_id = Some(id);
        }
        if let Some(size) = self.skipping.take() {
            self.skipped.push(Skipped {
                events_before: self.events.len(),
                size,
                last_event_id: self.last_event_id.clone(),
            });
        }
        let event = Event {
            data: joined(&self.data).map(str::to_owned),
            event: self
                .event_type
                .take()
                .map(|name| EventName::new(name).expect("a line holds no line end")),
            id: self.id_in_effect(),
            retry: self.retry.take(),
            comments: joined(&self.comments).map(str::to_owned),
        };
        self.data.clear();
        self.comments.clear();
        let shown = event.data.is_some()
            || (event.comments.is_some() && self.options.comments == Comments::Shown)
            || (event.retry.is_some() && self.options.show_retry_events);
        if shown {
            self.events.push(event);
        }
    }

    fn id_in_effect(&self) -> Option<EventId> {
        let id = self.last_event_id.as_deref()?;
        Some(EventId::new(id).expect("a line holds no line end, and NUL was refused"))
    }
}

/// The lines without the last LF; `None` if there are no lines.
fn joined(lines: &str) -> Option<&str> {
    lines.strip_suffix('\n')
}
