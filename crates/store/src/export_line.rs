//! `ExportLine`: a line of an export, which is an entry as JSON.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidings_hub::{ChannelName, Draft};
use tidings_proto::{Comments, Decoder, Event, EventName};

/// The largest body of an entry, in bytes.
const MAX_BODY_BYTES: usize = 64 << 20;

/// The largest body that is written as text, in bytes. JSON takes up to six times as many, and a line has a
/// limit.
const MAX_TEXT_BYTES: usize = 16 << 20;

/// The longest line of an import, in bytes: more than any line of an export.
pub(crate) const MAX_LINE_BYTES: usize = 128 << 20;

/// An entry as a line of JSON. `docs/log-format.md` explains the fields.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExportLine {
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    channel: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<String>,
    /// In milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comments: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    end: bool,
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_false(value: &bool) -> bool {
    !value
}

impl ExportLine {
    /// The line of the end of a channel.
    pub(crate) fn end(seq: u64, time: u64, channel: &ChannelName) -> Self {
        Self {
            seq: Some(seq),
            time: Some(format_time(time)),
            channel: channel.to_string(),
            end: true,
            ..Self::default()
        }
    }

    /// The line of an event.
    pub(crate) fn event(seq: u64, time: u64, channel: &ChannelName, body: &Bytes) -> Self {
        let line = Self {
            end: false,
            ..Self::end(seq, time, channel)
        };
        line.with_body(body)
    }

    /// The fields of the event if they are all that the body says, otherwise the body itself.
    fn with_body(self, body: &Bytes) -> Self {
        if let Some(event) = decode(body) {
            return Self {
                event: event.event.map(|name| name.to_string()),
                data: event.data,
                retry: event
                    .retry
                    .and_then(|time| u64::try_from(time.as_millis()).ok()),
                comments: event.comments,
                ..self
            };
        }
        match std::str::from_utf8(body) {
            Ok(text) if text.len() <= MAX_TEXT_BYTES => Self {
                body: Some(text.to_owned()),
                ..self
            },
            _ => Self {
                body_base64: Some(BASE64_STANDARD.encode(body)),
                ..self
            },
        }
    }

    /// The time of the entry, in nanoseconds since 1970.
    pub(crate) fn time(&self) -> Result<Option<u64>, String> {
        let parse = |text: &String| {
            parse_time(text).ok_or_else(|| {
                format!("\"{text}\" is not a time like 2026-01-31T12:00:00.123456789Z")
            })
        };
        self.time.as_ref().map(parse).transpose()
    }

    /// The entry of the line.
    pub(crate) fn into_draft(self) -> Result<Draft, String> {
        let channel = ChannelName::new(&self.channel).map_err(|error| error.to_string())?;
        if self.end {
            return match self {
                Self {
                    event: None,
                    data: None,
                    retry: None,
                    comments: None,
                    body: None,
                    body_base64: None,
                    ..
                } => Ok(Draft::end(channel)),
                _ => Err("an end has no event".to_owned()),
            };
        }
        let body = self.into_body()?;
        if body.len() > MAX_BODY_BYTES {
            return Err(format!("the event is larger than {MAX_BODY_BYTES} bytes"));
        }
        Ok(Draft::event(channel, body))
    }

    fn into_body(self) -> Result<Bytes, String> {
        let has_fields = self.event.is_some()
            || self.data.is_some()
            || self.retry.is_some()
            || self.comments.is_some();
        match (has_fields, self.body, self.body_base64) {
            (false, Some(text), None) => Ok(text.into()),
            (false, None, Some(text)) => match BASE64_STANDARD.decode(text) {
                Ok(body) => Ok(body.into()),
                Err(error) => Err(format!("body_base64: {error}")),
            },
            (true, None, None) => {
                let name = self.event.map(|name| EventName::new(&name)).transpose();
                let event = Event {
                    event: name.map_err(|error| error.to_string())?,
                    data: self.data,
                    id: None,
                    retry: self.retry.map(Duration::from_millis),
                    comments: self.comments,
                };
                Ok(event.encode().into_bytes())
            }
            (false, None, None) => Err("it has neither an event nor an end".to_owned()),
            _ => Err("it has more than one of a body and the fields of an event".to_owned()),
        }
    }
}

/// The only event of this body, if its fields are all that the body says.
fn decode(body: &Bytes) -> Option<Event> {
    if body.len() > MAX_TEXT_BYTES {
        return None;
    }
    let mut decoder = Decoder::new()
        .comments(Comments::Shown)
        .show_retry_events(true)
        .max_event_bytes(3 * body.len());
    let event = decoder.decode(body).next()?.ok()?;
    (event.id.is_none() && event.encode().bytes() == body).then_some(event)
}

pub(crate) fn format_time(time: u64) -> String {
    let time = UNIX_EPOCH + Duration::from_nanos(time);
    humantime::format_rfc3339_nanos(time).to_string()
}

fn parse_time(text: &str) -> Option<u64> {
    let time = humantime::parse_rfc3339(text).ok()?;
    nanos(time)
}

/// The nanoseconds from 1970 to this time.
pub(crate) fn nanos(time: SystemTime) -> Option<u64> {
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_nanos()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: u64 = 1_764_400_000_123_456_789;

    fn check(body: &'static [u8], expected: &str) {
        let channel = ChannelName::from_static("a/b");
        let body = Bytes::from_static(body);
        let line = ExportLine::event(7, TIME, &channel, &body);
        let text = serde_json::to_string(&line).unwrap();
        let begin = r#"{"seq":7,"time":"2025-11-29T07:06:40.123456789Z","channel":"a/b","#;
        assert_eq!(text, format!("{begin}{expected}}}"));
        let read: ExportLine = serde_json::from_str(&text).unwrap();
        assert_eq!(read.time(), Ok(Some(TIME)));
        assert_eq!(read.into_draft(), Ok(Draft::event(channel, body)));
    }

    #[test]
    fn an_event_has_its_fields_only_if_they_are_its_bytes() {
        check(b"data: x\n\n", r#""data":"x""#);
        check(
            b"event: e\nretry: 5\ndata:\ndata: 1\n\n",
            r#""event":"e","data":"\n1","retry":5"#,
        );
        check(b": note\n\n", r#""comments":"note""#);
        check(b"retry: 5\n\n", r#""retry":5"#);
        // Bytes that the encoder would not write so.
        check(b"data:x\n\n", r#""body":"data:x\n\n""#);
        check(b"data: x\r\n\r\n", r#""body":"data: x\r\n\r\n""#);
        check(b"data: x\n", r#""body":"data: x\n""#);
        check(
            b"data: x\n\ndata: y\n\n",
            r#""body":"data: x\n\ndata: y\n\n""#,
        );
        check(b"id: 1\ndata: x\n\n", r#""body":"id: 1\ndata: x\n\n""#);
        check(b"event: e\n\n", r#""body":"event: e\n\n""#);
        check(
            b"\xEF\xBB\xBFdata: x\n\n",
            "\"body\":\"\u{FEFF}data: x\\n\\n\"",
        );
        check(b"", r#""body":"""#);
        check(b"data: \xFF\n\n", r#""body_base64":"ZGF0YTog/woK""#);
    }

    #[test]
    fn a_line_is_one_event_or_one_end() {
        let check = |line: &str, expected: &str| {
            let line: Result<ExportLine, _> = serde_json::from_str(line);
            let draft = line.map_err(|error| error.to_string());
            let error = draft.and_then(ExportLine::into_draft).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        };
        check(r#"{"channel":"a"}"#, "it has neither");
        check(r#"{"data":"x"}"#, "missing field `channel`");
        check(
            r#"{"channel":"a","data":"x","id":"1"}"#,
            "unknown field `id`",
        );
        check(
            r#"{"channel":"a","data":"x","body":"x"}"#,
            "it has more than one",
        );
        check(
            r#"{"channel":"a","body_base64":"eA==","body":"x"}"#,
            "it has more than one",
        );
        check(
            r#"{"channel":"a","end":true,"data":"x"}"#,
            "an end has no event",
        );
        check(r#"{"channel":"a","body_base64":"!"}"#, "body_base64: ");
        check(r#"{"channel":"a//b","data":"x"}"#, "channel name");
        check(
            r#"{"channel":"a","event":"x\ny","data":"x"}"#,
            "an event name",
        );
    }
}
