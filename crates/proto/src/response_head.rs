//! `ResponseHead`: the parts of a response's head that a client uses.

use std::fmt;

/// The parts of a response head that an [`EventSourceState`](crate::EventSourceState) uses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ResponseHead<'a> {
    pub(crate) status: u16,
    pub(crate) content_type: Option<&'a str>,
    pub(crate) content_encoding: Option<&'a str>,
    pub(crate) location: Option<&'a str>,
    pub(crate) retry_after: Option<&'a str>,
}

impl<'a> ResponseHead<'a> {
    /// A head with this status and no headers.
    #[must_use]
    pub fn new(status: u16) -> Self {
        Self {
            status,
            content_type: None,
            content_encoding: None,
            location: None,
            retry_after: None,
        }
    }

    /// Sets the `Content-Type`, with several header lines joined by `, `. `None` if the response has
    /// none.
    #[must_use]
    pub fn content_type(mut self, value: Option<&'a str>) -> Self {
        self.content_type = value;
        self
    }

    /// Sets the `Content-Encoding` of the body as the driver will pass it, with several header lines
    /// joined by `, `. `None` if the body is decoded.
    #[must_use]
    pub fn content_encoding(mut self, value: Option<&'a str>) -> Self {
        self.content_encoding = value;
        self
    }

    /// Sets the `Location`. `None` if the response has none.
    #[must_use]
    pub fn location(mut self, value: Option<&'a str>) -> Self {
        self.location = value;
        self
    }

    /// Sets the `Retry-After`. `None` if the response has none.
    #[must_use]
    pub fn retry_after(mut self, value: Option<&'a str>) -> Self {
        self.retry_after = value;
        self
    }
}

// Shows no `Location`: its query may hold a secret.
impl fmt::Debug for ResponseHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseHead")
            .field("status", &self.status)
            .field("content_type", &self.content_type)
            .field("retry_after", &self.retry_after)
            .finish_non_exhaustive()
    }
}
