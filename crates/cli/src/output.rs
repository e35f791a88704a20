//! The output: one line per event, coloured on a terminal, and a stranger's text that cannot control it.

use std::fmt::{self, Display, Write as _};
use std::io::{self, IsTerminal, StdoutLock, Write};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tidings::Event;

/// Standard output. Each line is flushed, so that a reader receives it at once.
#[derive(Debug)]
pub(crate) struct Output {
    colours: bool,
}

impl Output {
    pub(crate) fn new() -> Self {
        Self {
            colours: io::stdout().is_terminal(),
        }
    }

    /// Prints the title of the next part.
    pub(crate) fn title(&self, text: impl Display) -> io::Result<()> {
        if self.colours {
            line(|out| writeln!(out, "\x1b[1m{text}\x1b[0m"))
        } else {
            line(|out| writeln!(out, "{text}"))
        }
    }

    pub(crate) fn event(&self, event: &Event) -> io::Result<()> {
        let (name, text) = (Plain(event.event_type()), Plain(event.text()));
        if self.colours {
            line(|out| writeln!(out, "  \x1b[36m{name}\x1b[0m {text}"))
        } else {
            line(|out| writeln!(out, "  {name} {text}"))
        }
    }

    pub(crate) fn note(&self, text: impl Display) -> io::Result<()> {
        if self.colours {
            line(|out| writeln!(out, "\x1b[32m{text}\x1b[0m"))
        } else {
            line(|out| writeln!(out, "{text}"))
        }
    }
}

/// Prints a line to standard output, and flushes it.
pub(crate) fn print(text: impl Display) -> io::Result<()> {
    line(|out| writeln!(out, "{text}"))
}

/// As `print`, for a task with an effect or a verdict of its own: it goes on if the reader of the output has
/// closed it.
pub(crate) fn print_if_read(text: impl Display) -> io::Result<()> {
    match print(text) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed,
    }
}

/// Prints a line to standard error. If that is closed, nobody reads it.
pub(crate) fn report(text: impl Display) {
    writeln!(io::stderr(), "tidings: {text}").unwrap_or_default();
}

/// As `report`, but gives up after this time, if standard error is a full pipe that nobody reads.
pub(crate) fn report_within(time: Duration, text: String) {
    let (reported, is_reported) = mpsc::channel();
    thread::spawn(move || {
        report(text);
        reported.send(())
    });
    is_reported.recv_timeout(time).ok();
}

fn line(write: impl FnOnce(&mut StdoutLock<'static>) -> io::Result<()>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    write(&mut out)?;
    out.flush()
}

/// A stranger's text with the characters escaped that control a terminal: it cannot move the cursor, and its
/// order on the screen is that of its characters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plain<'a>(pub(crate) &'a str);

impl Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| {
            if character.is_control() {
                write!(f, "{}", character.escape_debug())
            } else if is_layout(character) {
                write!(f, "{}", character.escape_unicode())
            } else {
                f.write_char(character)
            }
        })
    }
}

/// JSON of a stranger with the same characters escaped. It remains the same JSON.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlainJson<'a>(pub(crate) &'a str);

impl Display for PlainJson<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| {
            // JSON itself escapes those of ASCII within a string, except for DEL.
            let is_white = matches!(character, '\n' | '\r' | '\t');
            if (character.is_control() && !is_white) || is_layout(character) {
                write!(f, "\\u{:04x}", u32::from(character))
            } else {
                f.write_char(character)
            }
        })
    }
}

/// Whether it changes the direction of the text after it, or ends the line.
fn is_layout(character: char) -> bool {
    matches!(
        character,
        '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_and_not_executed() {
        for (text, shown) in [
            ("größe \"…\"", "größe \"…\""),
            ("a\nb\tc", "a\\nb\\tc"),
            ("\u{1b}[2J\u{7f}\u{9b}", "\\u{1b}[2J\\u{7f}\\u{9b}"),
            (
                "a\u{202e}b\u{2066}c\u{2028}",
                "a\\u{202e}b\\u{2066}c\\u{2028}",
            ),
            ("עברית עם \u{200f}סימן", "עברית עם \u{200f}סימן"),
        ] {
            assert_eq!(Plain(text).to_string(), shown);
        }
    }

    #[test]
    fn control_characters_in_json_are_escaped_and_remain_the_same() {
        let text = "größe\u{1b}[2J\u{7f}\u{9b}2J\u{202e}\u{2069}\u{2029}\n";
        let json = serde_json::to_string(text).unwrap();
        let shown = PlainJson(&json).to_string();
        assert_eq!(
            shown,
            "\"größe\\u001b[2J\\u007f\\u009b2J\\u202e\\u2069\\u2029\\n\""
        );
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text);
    }
}
