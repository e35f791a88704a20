//! Owns `Attempt`: a request that a caller's hook may change before it is sent.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use http::header::AUTHORIZATION;
use http::{HeaderMap, Uri};

use crate::credentials;
use crate::transport::TransportError;
use crate::url::IntoUrl;

/// What is about to be requested, as [`before_connect`](crate::RequestBuilder::before_connect) may
/// change it.
///
/// Each attempt begins with the URL and the headers of the [`RequestBuilder`](crate::RequestBuilder),
/// so a change is for this attempt and for the redirects that it follows. What the session itself
/// sends (`Accept`, `Cache-Control`, `Last-Event-ID`) cannot be changed here.
pub struct Attempt {
    pub(crate) number: u32,
    pub(crate) url: Uri,
    pub(crate) headers: HeaderMap,
}

/// Who changes it.
pub(crate) type BeforeConnect = dyn Fn(Attempt) -> Changing + Send + Sync;

/// A caller's change to an attempt, on its way.
pub(crate) type Changing = Pin<Box<dyn Future<Output = Result<Attempt, TransportError>> + Send>>;

impl Attempt {
    /// Which attempt in this outage it is, counted from 1; 0 for the first connection.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The URL that was asked for. Where a redirect has led since is kept as long as this is not
    /// changed.
    #[must_use]
    pub fn url(&self) -> &Uri {
        &self.url
    }

    /// Asks for another URL. Credentials then go to its origin, and to no other; a name and a
    /// password in it are sent as `Authorization`.
    ///
    /// # Errors
    /// It is no URL.
    pub fn set_url(&mut self, url: impl IntoUrl) -> Result<(), http::Error> {
        let (url, authorization) = credentials::take_from(url.into_url()?);
        self.url = url;
        if let Some(value) = authorization {
            self.headers.insert(AUTHORIZATION, value);
        }
        Ok(())
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The headers, to be changed.
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.headers
    }

    /// Sends this token as `Authorization: Bearer …`.
    ///
    /// # Errors
    /// No header can carry it.
    pub fn set_bearer(&mut self, token: impl AsRef<str>) -> Result<(), http::Error> {
        let value = credentials::bearer(token.as_ref())?;
        self.headers.insert(AUTHORIZATION, value);
        Ok(())
    }
}

// Neither the query nor the headers: both may hold secrets.
impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}
