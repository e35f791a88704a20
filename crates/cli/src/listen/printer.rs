//! `Printer`: an event as a person or a program reads it.

use std::fmt::{self, Display};
use std::io::{self, IsTerminal};

use jiff::ZonedDateTime;
use serde::Serialize;
use tidings::Event;
use tidings::client::{EventId, Gap, Position};

use super::indent::indented;
use crate::output::{Plain, PlainJson, print};

/// The longest data that stands on the line of its event although it is JSON, in bytes.
const SHORT: usize = 72;
/// The longest data that is shown as indented JSON, in bytes.
const LONG: usize = 2_000;

/// How events are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// For a person: time, channel, type and data in colours. Data may have several lines.
    Coloured,
    /// A line for each event: ID, type and data, separated by tabs.
    Lines,
    /// A line of JSON for each event.
    Json,
}

impl Form {
    pub(super) fn of(json: bool) -> Self {
        match json {
            true => Self::Json,
            false if io::stdout().is_terminal() => Self::Coloured,
            false => Self::Lines,
        }
    }
}

#[derive(Debug)]
pub(super) struct Printer {
    form: Form,
}

impl Printer {
    pub(super) fn new(form: Form) -> Self {
        Self { form }
    }

    pub(super) fn print(&self, event: &Event, gap: Option<&Gap>) -> io::Result<()> {
        match self.form {
            Form::Json => print(PlainJson(&Line::of(event, gap).json()?)),
            Form::Lines => print(Tabs(event)),
            Form::Coloured => {
                let time = ZonedDateTime::now().strftime("%H:%M:%S").to_string();
                print(Coloured {
                    time: &time,
                    event,
                    is_gap: gap.is_some(),
                })
            }
        }
    }
}

/// The gap that a hub reports by this event. The ID of such an event is a position.
pub(super) fn gap(event: &Event) -> Option<Gap> {
    let id = event.id.as_ref()?;
    id.as_str().parse::<Position>().ok()?;
    Gap::from_event(event)
}

/// The members of a line of JSON, in their order.
#[derive(Serialize)]
struct Line<'a> {
    id: Option<&'a str>,
    event: &'a str,
    data: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gap: Option<&'a Gap>,
}

impl<'a> Line<'a> {
    fn of(event: &'a Event, gap: Option<&'a Gap>) -> Self {
        Self {
            id: id(event),
            event: event.event_type(),
            data: event.text(),
            channel: id(event).and_then(Position::channel_in),
            gap,
        }
    }

    fn json(&self) -> io::Result<String> {
        Ok(serde_json::to_string(self)?)
    }
}

fn id(event: &Event) -> Option<&str> {
    event.id.as_ref().map(EventId::as_str)
}

/// An event as one line with tabs. A tab within a part is escaped.
struct Tabs<'a>(&'a Event);

impl Display for Tabs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(event) = self;
        let [id, name, text] = [
            id(event).unwrap_or_default(),
            event.event_type(),
            event.text(),
        ]
        .map(Plain);
        write!(f, "{id}\t{name}\t{text}")
    }
}

/// An event for a person.
struct Coloured<'a> {
    time: &'a str,
    event: &'a Event,
    is_gap: bool,
}

impl Display for Coloured<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            time,
            event,
            is_gap,
        } = self;
        write!(f, "\x1b[2m{time}\x1b[0m ")?;
        if let Some(channel) = id(event).and_then(Position::channel_in) {
            write!(f, "\x1b[35m{}\x1b[0m ", Plain(channel))?;
        }
        let colour = if *is_gap { "31" } else { "36" };
        write!(f, "\x1b[{colour}m{}\x1b[0m", Plain(event.event_type()))?;
        let text = event.text();
        let is_long_json = (SHORT + 1..=LONG).contains(&text.len());
        let json = is_long_json.then(|| indented(text)).flatten();
        match json {
            Some(json) => json
                .lines()
                .try_for_each(|line| write!(f, "\n  {}", Plain(line))),
            None if text.contains('\n') => text
                .split('\n')
                .try_for_each(|line| write!(f, "\n  {}", Plain(line))),
            None => write!(f, " {}", Plain(text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use tidings::EventName;

    use super::*;

    const ID: &str = "k3Zq9.42.x_7A.rooms/7";

    /// An event with these parts, unless they are empty.
    fn event(id: &str, name: &str, data: &str) -> Event {
        let mut event = Event::new(data);
        event.id = (!id.is_empty()).then(|| EventId::new(id).unwrap());
        event.event = (!name.is_empty()).then(|| EventName::new(name).unwrap());
        event
    }

    fn coloured(event: &Event) -> String {
        let (time, is_gap) = ("12:00:00", false);
        Coloured {
            time,
            event,
            is_gap,
        }
        .to_string()
    }

    fn json(event: &Event) -> String {
        Line::of(event, gap(event).as_ref()).json().unwrap()
    }

    #[test]
    fn a_person_sees_time_channel_type_and_data() {
        let note = event(ID, "note", "hello");
        assert_eq!(
            coloured(&note),
            "\x1b[2m12:00:00\x1b[0m \x1b[35mrooms/7\x1b[0m \x1b[36mnote\x1b[0m hello"
        );
        assert_eq!(
            coloured(&Event::new("hello")),
            "\x1b[2m12:00:00\x1b[0m \x1b[36mmessage\x1b[0m hello"
        );
    }

    #[test]
    fn data_of_several_lines_is_indented() {
        let shown = coloured(&Event::new("a\nb\x1b[2J"));
        assert!(
            shown.ends_with("message\x1b[0m\n  a\n  b\\u{1b}[2J"),
            "{shown}"
        );
    }

    #[test]
    fn only_json_that_is_neither_short_nor_long_is_indented() {
        let value = |length| format!("{{\"a\":\"{}\"}}", "x".repeat(length));
        for (length, is_indented) in [(10, false), (100, true), (3_000, false)] {
            let shown = coloured(&Event::new(value(length)));
            assert_eq!(shown.contains('\n'), is_indented, "{length}");
        }
    }

    #[test]
    fn a_line_has_three_fields() {
        let note = event(ID, "note", "a\tb\nc");
        assert_eq!(
            Tabs(&note).to_string(),
            "k3Zq9.42.x_7A.rooms/7\tnote\ta\\tb\\nc"
        );
        assert_eq!(Tabs(&Event::new("a")).to_string(), "\tmessage\ta");
    }

    #[test]
    fn json_names_the_channel_and_the_gap() {
        assert_eq!(
            json(&Event::new("a\"b")),
            r#"{"id":null,"event":"message","data":"a\"b"}"#
        );
        assert_eq!(
            json(&event(ID, "", "a")),
            r#"{"id":"k3Zq9.42.x_7A.rooms/7","event":"message","data":"a","channel":"rooms/7"}"#
        );
        let data = r#"{"requested":null,"resumed":"k3Zq9.42.x_7A","reason":"slow","missed":3}"#;
        let note = event("k3Zq9.42.x_7A", "gap", data);
        assert!(
            json(&note).ends_with(&format!(",\"gap\":{data}}}")),
            "{}",
            json(&note)
        );
    }

    #[test]
    fn an_event_that_only_looks_like_a_gap_is_none() {
        let data = r#"{"requested":null,"resumed":"1","reason":"slow","missed":3}"#;
        assert_eq!(gap(&event("1", "gap", data)), None);
        assert_eq!(gap(&event("", "gap", data)), None);
        assert_eq!(gap(&event(ID, "gap", "{}")), None);
    }
}
