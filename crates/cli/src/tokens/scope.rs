//! `Scope`: the channels that a claim allows.

use tidings::hub::{ChannelName, Grant, Pattern};

/// The text that allows all channels. It is no pattern: a subscription to all channels does not exist.
pub(super) const ALL: &str = "*";

/// The channels that a claim allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scope {
    All,
    /// Disjoint, and in the order of their texts.
    Of(Vec<Pattern>),
}

impl Scope {
    pub(super) fn of(patterns: &[Pattern]) -> Self {
        Self::Of(Pattern::disjoint(patterns).into_iter().cloned().collect())
    }

    pub(super) fn allows(&self, channel: &ChannelName) -> bool {
        match self {
            Self::All => true,
            Self::Of(patterns) => patterns.iter().any(|pattern| pattern.matches(channel)),
        }
    }

    /// Whether all channels that the pattern selects are allowed.
    pub(super) fn covers(&self, pattern: &Pattern) -> bool {
        match self {
            Self::All => true,
            Self::Of(patterns) => patterns.iter().any(|allowed| allowed.covers(pattern)),
        }
    }

    /// The patterns; `None` for all channels.
    pub(super) fn patterns(&self) -> Option<&[Pattern]> {
        match self {
            Self::All => None,
            Self::Of(patterns) => Some(patterns),
        }
    }

    /// A grant to subscribe to them.
    pub(super) fn grant(&self) -> Grant {
        match self {
            Self::All => Grant::all(),
            Self::Of(patterns) => {
                Grant::new(patterns).unwrap_or_else(|_| unreachable!("the patterns are valid"))
            }
        }
    }
}
