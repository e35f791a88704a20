//! The output: one line per event, coloured on a terminal.

use std::fmt::{self, Display, Write as _};
use std::io::{self, IsTerminal, StdoutLock, Write};

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

fn line(write: impl FnOnce(&mut StdoutLock<'static>) -> io::Result<()>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    write(&mut out)?;
    out.flush()
}

/// A stranger's text with its control characters escaped: it cannot move the cursor.
struct Plain<'a>(&'a str);

impl Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| {
            if character.is_control() {
                write!(f, "{}", character.escape_debug())
            } else {
                f.write_char(character)
            }
        })
    }
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
        ] {
            assert_eq!(Plain(text).to_string(), shown);
        }
    }
}
