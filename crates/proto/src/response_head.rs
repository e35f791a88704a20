//! Owns `ResponseHead`: what a client looks at in the head of a response.

/// What matters of the head of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseHead<'a> {
    pub(crate) status: u16,
    pub(crate) content_type: Option<&'a str>,
    pub(crate) location: Option<&'a str>,
    pub(crate) retry_after: Option<&'a str>,
}

impl<'a> ResponseHead<'a> {
    /// A head with this status and no header.
    #[must_use]
    pub fn new(status: u16) -> Self {
        Self {
            status,
            content_type: None,
            location: None,
            retry_after: None,
        }
    }

    /// With this `Content-Type`, if any.
    #[must_use]
    pub fn content_type(mut self, value: Option<&'a str>) -> Self {
        self.content_type = value;
        self
    }

    /// With this `Location`, if any.
    #[must_use]
    pub fn location(mut self, value: Option<&'a str>) -> Self {
        self.location = value;
        self
    }

    /// With this `Retry-After`, if any.
    #[must_use]
    pub fn retry_after(mut self, value: Option<&'a str>) -> Self {
        self.retry_after = value;
        self
    }
}
