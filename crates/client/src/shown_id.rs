//! `ShownId`: an event ID in `Debug` output, cut to a length that a log can carry.

use std::fmt;

use tidings_proto::EventId;

/// The maximum bytes of an ID that are shown. A server chooses the ID, which may have many MiB.
const SHOWN: usize = 256;

/// Shows an ID by its text, and a long one by its beginning and its length.
pub(crate) struct ShownId<'a>(pub(crate) &'a EventId);

impl fmt::Debug for ShownId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.as_str();
        if text.len() <= SHOWN {
            return fmt::Debug::fmt(text, f);
        }
        let is_end = |&at: &usize| text.is_char_boundary(at);
        let end = (0..=SHOWN).rev().find(is_end).unwrap_or(0);
        write!(f, "{:?}… ({} bytes)", &text[..end], text.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_id_is_cut_at_a_character() {
        let shown = |text: String| format!("{:?}", ShownId(&EventId::new(text).unwrap()));
        assert_eq!(shown("a\"b".into()), r#""a\"b""#);
        assert_eq!(shown("x".repeat(SHOWN)).len(), SHOWN + 2);
        let long = shown(format!("{}…{}", "x".repeat(SHOWN - 1), "y".repeat(999)));
        assert_eq!(long, format!("\"{}\"… (1257 bytes)", "x".repeat(SHOWN - 1)));
    }
}
