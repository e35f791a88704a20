//! `StreamResponse`: the sign that a response is an event stream, for the server that writes it.

use crate::Outgoing;

/// The sign that a response is an event stream of this crate. It is in the extensions of the response.
///
/// A server that finds it there can write the response in another way than others, as
/// `tidings-hyper-server` does. The body of the response may have been replaced by a layer.
#[derive(Debug, Clone, Default)]
pub struct StreamResponse {
    outgoing: Option<Outgoing>,
}

impl StreamResponse {
    /// The request may have an [`Outgoing`] in its extensions.
    pub(crate) fn new(outgoing: Option<&Outgoing>) -> Self {
        Self {
            outgoing: outgoing.cloned(),
        }
    }

    /// Reports whether the server reads from the connection during the stream, until it waits for the client.
    /// Default: `false`, and then an [`IoDeadline`](crate::IoDeadline) of the connection reads in its place.
    pub fn set_reading(&self, is_reading: bool) {
        if let Some(outgoing) = &self.outgoing {
            outgoing.set_reading(is_reading);
        }
    }
}
