//! `Attempt`: a request that the `before_connect` hook may change before it is sent.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use http::header::AUTHORIZATION;
use http::{HeaderMap, Uri};

use crate::Error;
use crate::credentials;
use crate::transport::TransportError;
use crate::url::IntoUrl;

/// A request that is about to be sent. Your
/// [`before_connect`](crate::RequestBuilder::before_connect) hook may change it.
///
/// Each attempt begins with the URL and the headers of the [`RequestBuilder`](crate::RequestBuilder),
/// so a change applies to this attempt and to the redirects that it follows. The session fills in
/// `Accept` and `Cache-Control` if they are not set. Its `Last-Event-ID` cannot be set here: an
/// attempt that sets one, or another header that cannot be sent, ends the session with
/// [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest).
pub struct Attempt {
    pub(crate) number: u32,
    pub(crate) url: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) last_error: Option<Error>,
}

/// The `before_connect` hook of a client or a request.
pub(crate) type BeforeConnect = dyn Fn(Attempt) -> AttemptFuture + Send + Sync;

/// The attempt that the hook returns, or its error.
pub(crate) type AttemptFuture =
    Pin<Box<dyn Future<Output = Result<Attempt, TransportError>> + Send>>;

impl Attempt {
    /// The number of this attempt in the current outage, counted from 1; 0 for the first connection.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Why the connection or the attempt before this one failed. `None` for the first attempt, and
    /// after a stream that the server ended in the regular way.
    ///
    /// With [`retry_unauthorized`](crate::RequestBuilder::retry_unauthorized), this is where the hook
    /// learns that the server refused its last token:
    ///
    /// ```
    /// use tidings_client::{Attempt, ErrorKind, http::StatusCode};
    ///
    /// fn must_renew(attempt: &Attempt) -> bool {
    ///     let error = attempt.last_error().map(|error| error.kind());
    ///     error == Some(&ErrorKind::Status(StatusCode::UNAUTHORIZED))
    /// }
    /// ```
    #[must_use]
    pub fn last_error(&self) -> Option<&Error> {
        self.last_error.as_ref()
    }

    /// The URL of the request, as you asked for it. While it is not changed, the request goes to
    /// the URL that the last stream was redirected to.
    #[must_use]
    pub fn url(&self) -> &Uri {
        &self.url
    }

    /// Requests another URL. Credentials then go to its origin, and to no other; a name and a
    /// password in it are sent as `Authorization`.
    ///
    /// # Errors
    /// The URL is invalid.
    pub fn set_url(&mut self, url: impl IntoUrl) -> Result<(), http::Error> {
        let (url, authorization) = credentials::take_from(url.into_url()?)?;
        self.url = url;
        if let Some(value) = authorization {
            self.headers.insert(AUTHORIZATION, value);
        }
        Ok(())
    }

    /// The headers of the request.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The headers of the request, to change them.
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.headers
    }

    /// Sends this token as `Authorization: Bearer …`.
    ///
    /// # Errors
    /// A header cannot carry the token.
    pub fn set_bearer(&mut self, token: impl AsRef<str>) -> Result<(), http::Error> {
        let value = credentials::bearer(token.as_ref())?;
        self.headers.insert(AUTHORIZATION, value);
        Ok(())
    }
}

// Shows neither the query nor the headers: both may hold secrets.
impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}
