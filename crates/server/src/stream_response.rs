//! `StreamResponse`: the sign that a response is an event stream, for the server that writes it.

use crate::Outgoing;

/// The sign that a response is an event stream of this crate. It is in the extensions of the response.
///
/// A server that finds it there can write this response in another way than other responses, as
/// `tidings-hyper-server` does. A layer may have replaced the body of the response.
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

    /// Reports whether the server itself reads from the connection during the stream, and so notices a client
    /// that leaves. Default: `false`: an [`IoDeadline`](crate::IoDeadline) of the connection reads in its
    /// place.
    pub fn set_reading(&self, is_reading: bool) {
        if let Some(outgoing) = &self.outgoing {
            outgoing.set_reading(is_reading);
        }
    }
}
