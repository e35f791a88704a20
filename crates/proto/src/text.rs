//! `Text`: static or shared text, the inside of `EventId`, `EventName` and `Epoch`.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Text that is cheap to clone: a literal, or text behind a reference count.
#[derive(Clone)]
pub(crate) enum Text {
    Static(&'static str),
    Shared(Arc<str>),
}

impl Text {
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Static(text) => text,
            Self::Shared(text) => text,
        }
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        if text.is_empty() {
            Self::Static("")
        } else {
            Self::Shared(text.into())
        }
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Text {}

impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// The first byte of the text that is one of `refused`, and its offset. `const`, unlike iterators.
pub(crate) const fn find_byte(text: &str, refused: &[u8]) -> Option<(u8, usize)> {
    let text = text.as_bytes();
    let mut at = 0;
    while at < text.len() {
        let mut n = 0;
        while n < refused.len() {
            if text[at] == refused[n] {
                return Some((text[at], at));
            }
            n += 1;
        }
        at += 1;
    }
    None
}

/// The name of a byte that ends a line, or of NUL, for an error text.
pub(crate) fn control_name(byte: u8) -> &'static str {
    match byte {
        0 => "NUL",
        b'\r' => "CR",
        b'\n' => "LF",
        _ => unreachable!("only NUL, CR and LF are refused"),
    }
}
