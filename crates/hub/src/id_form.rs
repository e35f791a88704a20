//! `IdForm`: whether the IDs of a subscription's events name their channels.

use tidings_proto::{EventId, Position};

use crate::ChannelName;

/// The form of the IDs of a subscription's events. An event is encoded once for all subscriptions of one
/// form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IdForm {
    /// `<position>`.
    Plain,
    /// `<position>.<channel>`.
    Named,
}

impl IdForm {
    /// The ID of an event.
    pub(crate) fn id(self, position: &Position, channel: &ChannelName) -> EventId {
        match self {
            Self::Plain => EventId::from(position),
            Self::Named => match EventId::new(format!("{position}.{channel}")) {
                Ok(id) => id,
                Err(_) => {
                    unreachable!("neither a position nor a name contains a control character")
                }
            },
        }
    }
}

/// The ID without the channel that it names, if it names one.
pub(crate) fn plain_id(id: &EventId) -> EventId {
    let Some(channel) = Position::channel_in(id) else {
        return id.clone();
    };
    match EventId::new(&id[..id.len() - ".".len() - channel.len()]) {
        Ok(id) => id,
        Err(_) => unreachable!("a part of an ID contains no control character"),
    }
}
