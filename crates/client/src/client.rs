//! Owns `SseClient`: a transport, and the settings of the sessions opened over it.

use std::fmt;
use std::sync::Arc;

use http::Method;

use crate::request::RequestBuilder;
use crate::settings::{Settings, settings_methods};
use crate::transport::Transport;
use crate::url::IntoUrl;

/// A client of event streams. Cheap to clone; settings are changed by value.
///
/// ```
/// use tidings_client::{Reconnect, SseClient, Transport};
///
/// fn client(transport: impl Transport) -> SseClient {
///     SseClient::over(transport).reconnect(Reconnect::standard())
/// }
/// ```
#[doc(alias = "HttpClient")]
#[doc(alias = "SSEConfig")]
#[doc(alias = "install")]
#[must_use = "settings are changed by value"]
#[derive(Clone)]
pub struct SseClient {
    transport: Arc<dyn Transport>,
    settings: Settings,
}

impl SseClient {
    /// A client over this transport that never reconnects; see [`reconnect`](Self::reconnect).
    pub fn over(transport: impl Transport) -> Self {
        Self {
            transport: Arc::new(transport),
            settings: Settings::default(),
        }
    }

    settings_methods!();

    /// A GET of this URL, to be [opened](RequestBuilder::open).
    #[doc(alias = "sse")]
    #[doc(alias = "sseSession")]
    pub fn get(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::GET, url)
    }

    /// A POST to this URL, to be [opened](RequestBuilder::open). It is sent once, unless
    /// [`may_be_repeated`](RequestBuilder::may_be_repeated) is said.
    pub fn post(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::POST, url)
    }

    /// A request of any method, to be [opened](RequestBuilder::open). Sent once unless it is a
    /// GET, or [`may_be_repeated`](RequestBuilder::may_be_repeated) is said.
    pub fn request(&self, method: Method, url: impl IntoUrl) -> RequestBuilder {
        RequestBuilder::new(
            Arc::clone(&self.transport),
            self.settings.clone(),
            method,
            url,
        )
    }
}

impl fmt::Debug for SseClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SseClient")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
