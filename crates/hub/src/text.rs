//! `Text`: the static or shared text of a channel name or a pattern.

use std::sync::Arc;

/// Text that costs nothing to clone: a literal, or shared by reference count.
#[derive(Clone)]
pub(crate) enum Text {
    Static(&'static str),
    /// Boxed once more, so that a `Text` takes 16 bytes instead of 24: a log in memory has one for each
    /// entry.
    Shared(Arc<Box<str>>),
}

impl Text {
    pub(crate) const fn from_static(text: &'static str) -> Self {
        Self::Static(text)
    }

    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Static(text) => text,
            Self::Shared(text) => text,
        }
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::Shared(Arc::new(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_takes_sixteen_bytes() {
        assert_eq!(size_of::<Text>(), 16);
    }
}
